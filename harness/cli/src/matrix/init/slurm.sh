#!/bin/bash
# A night of Schism as an array of three:
#
#   night=$(sbatch --parsable nightly.sbatch)
#   sbatch --dependency=afterany:"$night" --wrap "schism merge store --output night"
#
# The second job is the gate: it fails where the night is not green. `schism`, `schism-agent` and the
# programs of your systems are on the PATH of every machine, and the folder is one that all of them see.
#SBATCH --job-name=schism-nightly
#SBATCH --array=1-3
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=03:00:00
#SBATCH --requeue

# One that was requeued goes on where it was.
export SCHISM_NIGHT="$SLURM_ARRAY_JOB_ID"
# Reds are told by the gate. What is wrong with the matrix itself is told here.
schism matrix nightly.toml --shard auto || test $? -lt 64
