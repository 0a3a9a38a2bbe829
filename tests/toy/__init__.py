"""A family that asks for everything that the protocol promises."""
