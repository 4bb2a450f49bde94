"""What is fuzzed, one target a file.

A target is a module with a function `check(data)`, which hands bytes to a reader and may raise `EvenbitError` and
nothing else; and, where plain changes of bytes would not get far, `mutate(data, random, change_bytes)`, which changes
what is inside of them.
"""
