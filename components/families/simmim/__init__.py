"""SimMIM, masked image modelling (Xie et al. 2022, arXiv 2111.09886): masking, networks, recipe, evaluation."""
