"""Learning rates step by step against the reference's, and errors of unknown names."""

import pytest
import torch
import transformers

import regard
from regard.training.schedules import PLATEAU, SCHEDULES

WARMUP, STEPS, RATE = 4, 23, 0.1
NAMES = {
    "linear": {},
    "cosine": {},
    "cosine_with_restarts": {"num_cycles": 3},
    "cosine_with_min_lr": {"min_lr": 0.01},
    "cosine_warmup_with_min_lr": {"min_lr": 0.01},
    "polynomial": {},
    "constant": {},
    "constant_with_warmup": {},
    "inverse_sqrt": {},
    "warmup_stable_decay": {"num_decay_steps": 7},
}
OTHERS = [
    ("cosine", {"num_cycles": 1.5}),
    ("cosine_with_restarts", {}),
    ("cosine_with_min_lr", {"min_lr_rate": 0.2}),
    ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.2, "warmup_lr_rate": 0.3}),
    ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.0, "num_cycles": 1.5}),
    ("polynomial", {"power": 2.0, "lr_end": 0.02}),
    ("inverse_sqrt", {"timescale": 9}),
    ("warmup_stable_decay", {"num_decay_steps": 5, "decay_type": "linear"}),
    ("warmup_stable_decay", {"num_decay_steps": 5, "decay_type": "1-sqrt", "min_lr_ratio": 0.1}),
]


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)


def rates(library, name, given, warmup=WARMUP):
    made = optimizer()
    schedule = library.get_scheduler(name, made, warmup, STEPS, given or None)
    found = []
    for _ in range(STEPS):
        found.append(schedule.get_last_lr()[0])
        made.step()
        schedule.step()
    # The reference lets this one rise again after the last step, where nothing reads it.
    after = [] if name == "cosine_warmup_with_min_lr" else [schedule.get_last_lr()[0]]
    return [*found, *after]


def test_every_schedule_is_compared():
    assert {*NAMES, PLATEAU} == {*SCHEDULES}
    assert {*SCHEDULES} <= {each.value for each in transformers.SchedulerType}


@pytest.mark.parametrize("warmup", [0, WARMUP])
@pytest.mark.parametrize(("name", "given"), [*NAMES.items(), *OTHERS])
def test_rates_are_the_references(name, given, warmup):
    expected = rates(transformers, name, given, warmup)
    assert rates(regard, name, given, warmup) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert len({*expected}) > 1 or name.startswith("constant")


@pytest.mark.parametrize("given", [{}, {"factor": 0.5, "patience": 1, "mode": "max"}])
def test_a_plateau_is_the_references(given):
    def found(library):
        made = optimizer()
        schedule = library.get_scheduler(PLATEAU, made, 3, STEPS, given or None)
        rates = []
        for value in [3, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]:
            schedule.step(value)
            rates.append(made.param_groups[0]["lr"])
        return rates

    assert found(regard) == found(transformers)
    assert len({*found(regard)}) > 1


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_functions_of_their_own(name):
    get = getattr(regard, f"get_{name}_schedule_with_warmup")
    found = get(optimizer(), WARMUP, STEPS)
    expected = getattr(transformers, f"get_{name}_schedule_with_warmup")(optimizer(), WARMUP, STEPS)
    for step in range(STEPS):
        assert found.lr_lambdas[0](step) == pytest.approx(expected.lr_lambdas[0](step))
    risen = regard.get_constant_schedule_with_warmup(optimizer(), WARMUP)
    assert [risen.lr_lambdas[0](step) for step in (0, 2, 4, 50)] == [0, 0.5, 1, 1]


def test_a_rate_of_nothing_stays_nothing():
    made = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.0)
    assert regard.get_scheduler("polynomial", made, 0, 5).get_last_lr() == [0.0]


def test_errors_name_the_nearest():
    with pytest.raises(regard.ConfigError, match="unknown schedule 'cosin'; did you mean 'cosine"):
        regard.get_scheduler("cosin", optimizer())
    with pytest.raises(regard.ConfigError, match="'cosine' takes no 'cycles'"):
        regard.get_scheduler("cosine", optimizer(), 0, 5, {"cycles": 1})
    with pytest.raises(regard.ConfigError, match="'reduce_lr_on_plateau' takes no 'patient'"):
        regard.get_scheduler(PLATEAU, optimizer(), 0, 5, {"patient": 1})
    with pytest.raises(regard.ConfigError, match="decay_type is 'steep'; known: cosine, linear"):
        regard.get_scheduler("warmup_stable_decay", optimizer(), 0, 5, {"decay_type": "steep"})
