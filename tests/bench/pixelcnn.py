"""Sampling with the cache against the definition: a network of the published size, 28 x 28, 256 levels, one thread, float32.

The definition is timed on ``ROWS`` rows of one batch and scaled to all 28: each of its pixels costs one pass over the image,
whatever its place. The bars are 50 at batch 1 and 400 at batch 16. The fastest turn counts, of both.
"""

import torch

SIZE, ROWS = 28, 1


def bench_pixelcnn(ratio):
    """Seconds for a batch of images, of both."""
    from components.core.runtime import set_threads
    from components.families.pixelcnn.pixelcnn import PixelCNN
    from components.families.pixelcnn.sampling import Definition, sample, uniform_draws

    set_threads(1)
    torch.manual_seed(0)
    network = PixelCNN(channels=1).eval()
    for batch, rounds in ((1, 3), (16, 1)):
        draws = uniform_draws((batch, 1, SIZE, SIZE), seed=0)

        @torch.inference_mode()
        def some_rows(batch=batch):
            state = Definition(network, batch, SIZE, SIZE, ())
            for _ in range(ROWS):
                state.begin_row()
                for column in range(SIZE):
                    state.logits(torch.zeros(batch, 1), column)

        first, second, times = ratio(some_rows, lambda draws=draws: sample(network, draws), rounds=rounds, of=min)
        scale = SIZE / ROWS
        naive = f"by the definition {first * scale:.0f} s ({ROWS} row(s) timed, scaled)"
        yield f"PixelCNN batch {batch}: {naive}, cached {second:.2f} s: ratio {times * scale:.0f}"
