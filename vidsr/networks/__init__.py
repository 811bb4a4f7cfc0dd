"""The networks in torch: training, folding and export. Nothing that upscales imports this."""
