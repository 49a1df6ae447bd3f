"""Numeric kernels that losses and metrics share; they know arrays, not losses.

Dense arrays travel here as `batch pixels classes`, space flat. `classes` says how the class axis is
handled, `blocks` what is done if it is long.
"""
