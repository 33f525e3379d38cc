import numpy as np
import pytest

from regard.pipelines.comparing import agreement, compare

PERSON = {"entity_group": "PER", "word": "Ada", "start": 0, "end": 3, "score": 0.9}
PLACE = {"entity_group": "LOC", "word": "Ulm", "start": 9, "end": 12, "score": 0.8}


def test_scores_do_not_count():
    wanted = [[PERSON, PLACE], []]
    assert agreement([[PERSON | {"score": 0.1}, PLACE], []], wanted) == (1.0, None)


def test_what_one_says_alone_counts_against_it():
    wanted = [[PERSON, PLACE], [PLACE]]
    assert agreement([[PERSON], [PLACE]], wanted)[0] == pytest.approx(2 / 3)
    assert agreement([[PERSON, PLACE | {"end": 11}], [PLACE]], wanted)[0] == pytest.approx(2 / 4)


def test_entries_belong_to_those_around_them():
    one = [{"predicate": "sold", "roles": [{"role": "A0", "word": "she"}]}]
    other = [{"predicate": "ran", "roles": [{"role": "A0", "word": "she"}]}]
    assert agreement([one], [one])[0] == 1.0
    assert agreement([one], [other])[0] == 0.0


def test_vectors_by_their_cosines():
    wanted = np.array([[1.0, 0.0], [0.0, 2.0]])
    mean, least = agreement(np.array([[3.0, 0.0], [1.0, 1.0]]), wanted)
    assert least == pytest.approx(2**-0.5)
    assert mean == pytest.approx((1 + 2**-0.5) / 2)


@pytest.mark.parametrize(("texts", "rounds"), [([], 1), (["a"], 0)])
def test_nothing_to_measure(texts, rounds):
    with pytest.raises(ValueError, match="nothing to measure"):
        compare("ner", None, texts, rounds, accuracy=False)


def test_a_task_that_writes():
    with pytest.raises(ValueError, match="text-generation writes texts"):
        compare("text-generation", None, ["a"], 1, accuracy=False)
