#!/usr/bin/env bash
# One build on Slurm nodes that share a disk. In a checkout on that disk, once:
#   python3 -m venv .venv && .venv/bin/pip install -c constraints.txt '.[cloud,models]'
#   .venv/bin/vpdata models fetch --config configs/vpdata.yaml --to /shared/weights
# and then, from the same folder:
#   export VPDATA_INPUT=/shared/videos VPDATA_OUTPUT=/shared/runs/first VPDATA_WEIGHTS=/shared/weights
#   sbatch docs/cluster/slurm.sh
# What stands behind slurm.sh is handed to the build; docs/cluster.md says which numbers of workers to set there. With
# VPDATA_CONFIG=configs/embedded.yaml it takes no GPU and no weights: then remove the line with --gpus-per-node.
# The same command again goes on where a build stopped or ran out of time, but without --redo, which removes what is
# finished each time it starts: never hand it to a job that Slurm may requeue (then add --no-requeue to sbatch).
#SBATCH --job-name=vpdata
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=88
#SBATCH --gpus-per-node=8
#SBATCH --mem-per-cpu=5G
#SBATCH --time=24:00:00
#SBATCH --output=vpdata-%j.log
set -euo pipefail

: "${VPDATA_INPUT:?wanted an absolute path or a uri that every node can read}"
: "${VPDATA_OUTPUT:?wanted an absolute path or a uri that every node can write}"

cd "$SLURM_SUBMIT_DIR"
source .venv/bin/activate

# One token for the nodes of this job alone. It lies on the shared disk, readable by its owner only.
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH="$SLURM_SUBMIT_DIR/.ray-token-$SLURM_JOB_ID"
(umask 077 && python -c 'import secrets; print(secrets.token_hex(32))' > "$RAY_AUTH_TOKEN_PATH")
trap 'rm -f "$RAY_AUTH_TOKEN_PATH"' EXIT

# Port and folder of their own: two jobs may share a node.
port=$((20000 + SLURM_JOB_ID % 20000))
head_ip=$(hostname -I | awk '{print $1}')  # not --ip-address, which may be a loopback address
export RAY_ADDRESS="$head_ip:$port"
# Numbers, not what Ray finds: it would find the whole node, whatever Slurm gave this job.
ray_options=(--num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --object-store-memory=200000000
    --disable-usage-stats)

ray start --head --node-ip-address="$head_ip" --port="$port" --temp-dir="/tmp/ray-$SLURM_JOB_ID" \
    --include-dashboard=false "${ray_options[@]}"
if ((SLURM_JOB_NUM_NODES > 1)); then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$(hostname -s)" \
        ray start --address="$RAY_ADDRESS" --block "${ray_options[@]}" &
fi
python - "$SLURM_JOB_NUM_NODES" <<'EOF'
import sys, time
import ray

ray.init(log_to_driver=False)
stop_at_s = time.monotonic() + 300
while (num_nodes := sum(node["Alive"] for node in ray.nodes())) < int(sys.argv[1]):
    if time.monotonic() > stop_at_s:
        sys.exit(f"got {num_nodes} Ray nodes after 300 s, wanted {sys.argv[1]}")
    time.sleep(2)
EOF

# Slurm ends what is left on the nodes when this script ends, and the build's exit status becomes the job's.
python pipelines/build_vpdata.py --config "${VPDATA_CONFIG:-configs/vpdata.yaml}" \
    --input "$VPDATA_INPUT" --output "$VPDATA_OUTPUT" "$@"
