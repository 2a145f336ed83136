"""List the shards of the patches with their SHA-256, for later steps to depend on."""

from workflow_scripts.common.runtime import step
from workflow_scripts.common.store import list_shards

if __name__ == "__main__":
    with step(snakemake):
        list_shards(snakemake.input, snakemake.output[0])
