"""Studies: search over parameters, where each trial is a DVC experiment and workers run on one machine or on many."""

import os

# Variables that the last digits of a result may depend on: numbers of threads, and whether all machines are to give the
# same bytes. Dask sets some for its workers, and vae sets some when it is imported. The stages of a trial get the
# values that they would have in the workspace: those of now.
WORKSPACE_VARIABLES = {
    name: os.environ.get(name)
    for name in (
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"),
        *("VAE_SAME_BYTES", "MALLOC_TRIM_THRESHOLD_", "PYTHONHASHSEED"),
    )
}
