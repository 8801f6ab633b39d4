"""The runtime in PyTorch: networks as modules, gradients by autograd or in closed form."""
