"""Numeric kernels that losses and metrics share; they know arrays, not losses.

Dense arrays travel here in one internal layout, `batch classes pixels`: space is flat and last, so
that a sum over pixels reads contiguous memory and the class axis can be unrolled.
"""
