"""What models have in common that not all of them have: templates that make a model ask itself, GPUs."""
