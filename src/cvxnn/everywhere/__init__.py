"""The optimum over all networks: prices, growth, and bounds."""
