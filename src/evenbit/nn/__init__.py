"""The method: sign and its gradient estimators, weight binarization, and the parts that place the zero point."""

from evenbit.nn.activation import BinaryActivation
from evenbit.nn.block import BinaryLayer, PlainConv, PlainLinear, ResidualConv
from evenbit.nn.conv import BinaryConv2d, BinaryLinear, keep_latent_weights_within_reach, latent_weights
from evenbit.nn.conversion.convert import Binarized, binarize
from evenbit.nn.conversion.record import Conversion, Conversions
from evenbit.nn.distribution import DistributionAdjustment
from evenbit.nn.excitation import GroupExcitation, excitations, freeze_excitation
from evenbit.nn.method import METHODS, Method, resolve_method
from evenbit.nn.refinement import RPReLU, ZeroPoint
from evenbit.nn.sign import ESTIMATORS, Sign, set_progress
from evenbit.nn.weight import WeightBinarizer

__all__ = [
    "ESTIMATORS",
    "METHODS",
    "Binarized",
    "BinaryActivation",
    "BinaryConv2d",
    "BinaryLayer",
    "BinaryLinear",
    "Conversion",
    "Conversions",
    "DistributionAdjustment",
    "GroupExcitation",
    "Method",
    "PlainConv",
    "PlainLinear",
    "RPReLU",
    "ResidualConv",
    "Sign",
    "WeightBinarizer",
    "ZeroPoint",
    "binarize",
    "excitations",
    "freeze_excitation",
    "keep_latent_weights_within_reach",
    "latent_weights",
    "resolve_method",
    "set_progress",
]
