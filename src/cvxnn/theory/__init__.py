"""What theory says of trained networks: margins, flows, isometries, optimal transport."""
