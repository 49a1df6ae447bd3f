"""The same losses under other libraries' names, arguments and array layouts.

One module a library: `from lossbench.compat import monai`, and a call written for that library
works on JAX arrays: `monai.DiceLoss(to_onehot_y=True, softmax=True)(input, target)`. The numbers
are those of `lossbench.losses`; a module only turns arrays and options into our terms, and each of
its docstrings names the call that it amounts to. Values and gradients are held to those of the
library itself, of the version that the module names.

No module imports the library that it stands for. This package imports none of its modules.
"""
