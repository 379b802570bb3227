"""Operations: all that the checker knows of each layer, loss and optimiser."""
