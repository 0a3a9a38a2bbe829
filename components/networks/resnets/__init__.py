"""Residual networks: torchvision's ``resnet``, ``resnet18`` for images of 32 px, their shortcut."""
