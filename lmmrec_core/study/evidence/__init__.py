"""What others printed, published and released, beside this study: the audit's engine fed with the paper's tables."""
