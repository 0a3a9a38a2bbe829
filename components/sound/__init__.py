"""Sound as pictures and back: numpy and scipy alone. Read ``mel`` first, then ``griffin_lim``.

Signals are float64 [n] in [-1, 1], one channel; spectra are frames first, complex128 [T, F]; pictures uint8 [bins, T], the
highest frequency on top.
"""
