"""What adversarial training needs beside networks and optimizers; torch is its only import.

Read ``losses`` first: one equation per function, and ``frozen``, which keeps an update away from the other side's weights.
``domains`` handles several domains in one network: their outputs, and their labels. Every loss is a mean over the batch, so
that the shares of several processes average to the loss of the whole batch.
"""
