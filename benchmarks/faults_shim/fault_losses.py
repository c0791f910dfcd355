"""For fault runs with real training: announces a loss that misbehaves for one embedding size."""

from siamkit import Float, LossSpec, hookimpl


@hookimpl
def siamkit_losses():
    return [
        LossSpec(
            name="faulty",
            factory="faulty_loss:Faulty",
            supervision="labels",
            params={"margin": Float(0.2, low=0.1, high=0.5)},
        )
    ]
