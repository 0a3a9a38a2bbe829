"""Losses of adversarial training, one equation a function. No network, no optimizer, no setting.

The folder needs torch alone and imports its own files relatively. Every loss is a mean over the batch, so that the shares
of several processes average to the whole batch. Weights that change in training are functions of the step.
"""
