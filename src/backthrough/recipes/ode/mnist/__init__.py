"""An ODE-Net beside a residual network on digits."""
