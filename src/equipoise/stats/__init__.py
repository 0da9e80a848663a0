"""Pure numpy float64 functions on arrays: what a report prints is computed here and checked against R or another reference.

Weights are multiplicities and may have leading dimensions: ``weight`` (n,) gives one value, ``weight`` (b, n) gives b values, one a bootstrap
resample, at the price of one sort. A value that the data cannot give (one class only, no spread) is NaN, "not estimated", never a guess.
"""
