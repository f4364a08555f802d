"""Workers started by what people already run: Slurm, Kubernetes, SSH. All start the same worker program."""
