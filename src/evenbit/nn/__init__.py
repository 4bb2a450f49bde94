"""The method: sign and its gradient estimators, weight binarization, and the parts that place the zero point."""

from evenbit.nn.activation import BinaryActivation
from evenbit.nn.block import PlainConv, ResidualConv
from evenbit.nn.conv import BinaryConv2d, BinaryLinear, latent_weights
from evenbit.nn.distribution import DistributionAdjustment
from evenbit.nn.excitation import GroupExcitation, freeze_excitation
from evenbit.nn.method import METHODS, Method, resolve_method
from evenbit.nn.refinement import RPReLU, ZeroPoint
from evenbit.nn.sign import ESTIMATORS, Sign, set_progress
from evenbit.nn.weight import WeightBinarizer

__all__ = [
    "ESTIMATORS",
    "METHODS",
    "BinaryActivation",
    "BinaryConv2d",
    "BinaryLinear",
    "DistributionAdjustment",
    "GroupExcitation",
    "Method",
    "PlainConv",
    "RPReLU",
    "ResidualConv",
    "Sign",
    "WeightBinarizer",
    "ZeroPoint",
    "freeze_excitation",
    "latent_weights",
    "resolve_method",
    "set_progress",
]
