"""Handwriting for print: a text set in a translator's style. Read in order: printing, hand, style, page, reading."""
