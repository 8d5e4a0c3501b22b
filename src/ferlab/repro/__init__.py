"""The stages of the pipeline side by side, on this machine or as arrays of SLURM; `dvc repro` runs them one by one."""
