"""What nobody needs any more: found with its size and the reason, removed in an order that an interruption cannot hurt."""
