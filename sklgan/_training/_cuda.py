"""What makes training fast on a GPU: cuDNN's settings, and steps as CUDA graphs."""

import warnings
from collections import Counter
from contextlib import contextmanager

import torch

# Steps of each kind before its capture: cuDNN chooses its algorithms meanwhile, and
# Adam makes its moments. PyTorch's notes on CUDA graphs ask for three.
_WARM_UP = 3


@contextmanager
def fast_cudnn(autocast):
    """Let cuDNN measure which algorithms are fastest, within the context.

    Not where the user asked for deterministic ones. Without autocast float32 is meant
    as such: PyTorch would let convolutions round to TF32's ten bits.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.allow_tf32
    cudnn.benchmark = before[0] or not (
        cudnn.deterministic or torch.are_deterministic_algorithms_enabled()
    )
    cudnn.allow_tf32 = before[1] and autocast
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32 = before


class GraphedSteps:
    """Steps of the engine as CUDA graphs: captured once, then one launch each.

    What differs from step to step is a kind of its own: the shapes of the batch,
    whose turn it is, the learning rates. The random numbers are those
    of plain steps, since graphs draw from the device's generator. Where a capture
    fails, as it does if a function of the user waits for the device, all steps are
    plain from then on.

    Parameters
    ----------
    net : AdversarialNet
        Its ``update_networks`` is what is captured.
    """

    def __init__(self, net):
        self.net = net
        self.stream = torch.cuda.Stream(net.device)
        self.is_broken = False
        self.clear()

    def clear(self):
        """Forget the graphs: tensors that they write to have been replaced."""
        self.n_runs, self.graphs, self.pool = Counter(), {}, None

    def __call__(self, rows, y, *turns):
        """Take a step as ``update_networks`` does; returns the losses."""
        if self.is_broken:
            return self.net.update_networks(rows, y, *turns)
        rates = tuple(group["lr"] for group in self.net.optimizer_.param_groups)
        shapes = rows.shape, None if y is None else y.shape
        kind = (*shapes, *turns, rates)
        if kind not in self.graphs:
            self.n_runs[kind] += 1
            if self.n_runs[kind] <= _WARM_UP:
                return self._warm_up(rows, y, *turns)
            try:
                self.graphs[kind] = self._capture(rows, y, *turns)
            except RuntimeError as error:
                self._give_up(error)
                return self(rows, y, *turns)
        graph, inputs, losses = self.graphs[kind]
        inputs[0].copy_(rows)
        if y is not None:
            inputs[1].copy_(y)
        graph.replay()
        # The next replay writes to the same memory.
        return {name: loss.clone() for name, loss in losses.items()}

    def _warm_up(self, *batch):
        """Take a plain step beside the stream that others use, as captures need it."""
        current = torch.cuda.current_stream(self.net.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            losses = self.net.update_networks(*batch)
        current.wait_stream(self.stream)
        return losses

    def _capture(self, rows, y, *turns):
        """Return a graph, the tensors it reads, and the losses that it writes."""
        inputs = rows.clone(), None if y is None else y.clone()
        self.net.optimizer_.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            losses = self.net.update_networks(*inputs, *turns)
        self.pool = graph.pool()
        return graph, inputs, losses

    def _give_up(self, error):
        """Go on plainly: a capture changes nothing but these two."""
        self.is_broken = True
        self.clear()
        self.net.optimizer_.zero_grad(set_to_none=True)
        self.net.discriminator_.requires_grad_(True)
        warnings.warn(
            f"Steps could not be captured as a CUDA graph and are plain from here on: "
            f"{error}",
            stacklevel=2,
        )
