"""The sae-lens half of experiments/peers/sae_lens_check.py. Runs in an environment of its own; knows nothing of ours.

    python sae_lens_train.py DATA OUT --architecture=topk --latents=768 [...]

Trains one autoencoder of sae-lens on DATA/train.npy, tokens [n, d], in random order without end; measures it, as
sae-lens itself saves and loads it, on DATA/heldout.npy; writes OUT.npz (its weights) and OUT.json (its figures).
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sae_lens
import torch
from sae_lens import SAE
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.standard_sae import StandardTrainingSAE, StandardTrainingSAEConfig
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer

ARCHITECTURES = {
    "standard": (StandardTrainingSAE, StandardTrainingSAEConfig),
    "topk": (TopKTrainingSAE, TopKTrainingSAEConfig),
    "batchtopk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--architecture", choices=ARCHITECTURES, required=True)
    parser.add_argument("--latents", type=int, required=True)
    parser.add_argument("--topk", type=int, default=32)
    parser.add_argument("--l1", type=float, default=5.0)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--warmup", type=float, required=True)
    parser.add_argument("--decay", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def batches(x_nd: torch.Tensor, size: int, seed: int) -> Iterator[torch.Tensor]:
    """Batches in random order; every epoch another one."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.empty(0, dtype=torch.long)
    while True:
        while len(left) < size:
            left = torch.cat([left, torch.randperm(len(x_nd), generator=generator)])
        yield x_nd[left[:size]]
        left = left[size:]


@torch.no_grad()
def figures(sae: SAE, x_nd: torch.Tensor, size: int = 4096) -> dict[str, float]:
    """FVU, L0 and the share of latents that never fire, with sae-lens's own encode and decode."""
    error, fired_k, fires = 0.0, torch.zeros(sae.cfg.d_sae, dtype=torch.bool), 0
    for part_nd in x_nd.split(size):
        z_nk = sae.encode(part_nd)
        error += float((part_nd - sae.decode(z_nk)).double().square().sum())
        fired_k |= (z_nk > 0).any(0)
        fires += int((z_nk > 0).sum())
    deviation = float((x_nd - x_nd.mean(0)).double().square().sum())
    return {"fvu": error / deviation, "l0": fires / len(x_nd), "dead": float((~fired_k).float().mean())}


def main() -> None:
    args = arguments()
    torch.manual_seed(args.seed)
    train_nd, heldout_nd = (torch.from_numpy(np.load(f"{args.data}/{part}.npy")) for part in ("train", "heldout"))
    made, configured = ARCHITECTURES[args.architecture]
    own = {"l1_coefficient": args.l1} if args.architecture == "standard" else {"k": args.topk}
    sae = made(configured(d_in=train_nd.shape[1], d_sae=args.latents, device="cpu", **own))
    config = SAETrainerConfig(
        total_training_samples=args.steps * args.batch,
        train_batch_size_samples=args.batch,
        lr=args.rate,
        lr_end=0.0,
        lr_warm_up_steps=round(args.warmup * args.steps),
        lr_decay_steps=round(args.decay * args.steps),
    )
    start = time.perf_counter()
    SAETrainer(config, sae, batches(train_nd, args.batch, args.seed)).fit()
    seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as directory:
        sae.save_inference_model(directory)
        saved = SAE.load_from_disk(directory)
    weights = {name: value.detach().float().numpy() for name, value in saved.state_dict().items()}
    np.savez(f"{args.out}.npz", **weights, applied=np.array(saved.cfg.apply_b_dec_to_input))
    versions = {"sae_lens": sae_lens.__version__, "torch": torch.__version__}
    with Path(f"{args.out}.json").open("w", encoding="utf-8") as file:
        json.dump({**figures(saved, heldout_nd), "seconds": seconds, **versions}, file)


if __name__ == "__main__":
    main()
