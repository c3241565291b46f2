"""All stages that several processes can share, in one run of these processes; the training comes last."""

from stages import embed, entry, evaluate, generate, train
from vae.base.params import Params


def main(params: Params) -> None:
    for stage in (evaluate, generate, embed, train):
        stage.main(params)


if __name__ == "__main__":
    entry.run(main, shards=lambda params: params.train.shards)
