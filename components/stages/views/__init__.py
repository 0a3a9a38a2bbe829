"""Views as the other stages read them: ``view`` first, then ``loader``, which feeds a training."""
