"""What stands in for a GPU's attention in tests: torch's signature, the definition, its demands."""

from itertools import pairwise

import torch

from regard.attention import varlen


def varlen_attn(
    query,
    key,
    value,
    cu_seq_q,
    cu_seq_k,
    max_q,
    max_k,
    *,
    return_aux=None,
    scale=None,
    window_size=(-1, -1),
    enable_gqa=False,
    seqused_k=None,
    block_table=None,
    num_splits=None,
):
    """Attend as torch documents it: a window of -1 has no end, and ends meet ends."""
    check_like_torch(query, key, cu_seq_q, cu_seq_k, scale)
    lengths, key_lengths = cu_seq_q.diff().tolist(), cu_seq_k.diff().tolist()
    assert max_q == max(lengths)
    if block_table is not None:
        check_pages(query, key, seqused_k, block_table)
        pages = block_table.long()
        rows = [
            [store[pages[row]].flatten(0, 1)[:used] for row, used in enumerate(seqused_k.tolist())]
            for store in (key, value)
        ]
        assert max(seqused_k.tolist()) <= max_k <= block_table.shape[1] * key.shape[1]
    else:
        assert max_k >= max(key_lengths)
        ends = cu_seq_k.tolist()
        rows = [[store[start:end] for start, end in pairwise(ends)] for store in (key, value)]
    assert enable_gqa == (query.shape[-2] != key.shape[-2])
    if enable_gqa and max_q == 1:
        assert len(query) == len(lengths)  # heads that share keys are as many queries then
    parts = zip(query.split(lengths), *rows, strict=True)
    return torch.cat([attend(*part, scale, window_size) for part in parts])


def padded_varlen_attn(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, **options):
    """Do the same where tokens that belong to no sequence follow; what is there is no number.

    Without a look at any value, so that it can be recorded.
    """
    assert query.shape == key.shape
    assert cu_seq_q is cu_seq_k
    place = torch.arange(len(query))
    row = (place[:, None] >= cu_seq_q).sum(1)
    together = row[:, None] == row
    back = place[:, None] - place
    left, right = (len(query) if end < 0 else end for end in options["window_size"])
    seen = together & (back <= left) & (-back <= right)
    scores = torch.einsum("qhd,khd->hqk", query, key)
    scores = scores * (options["scale"] or query.shape[-1] ** -0.5)
    weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    there = (row < len(cu_seq_q))[:, None, None]
    mixed = torch.einsum("hqk,khd->qhd", weights, torch.where(there, value, 0))
    return torch.where(there, mixed, torch.nan)


def attend(query, key, value, scale, window):
    """Attend within one sequence."""
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    scores = torch.einsum("qhd,khd->hqk", query, key) * (scale or query.shape[-1] ** -0.5)
    queries, keys = scores.shape[1:]
    back = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)
    left, right = (keys + queries if end < 0 else end for end in window)
    hidden = (back > left) | (-back > right)
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(hidden, -torch.inf).softmax(-1), value)


def check_like_torch(query, key, cu_seq_q, cu_seq_k, scale):
    """Look at what ``mha_varlen_fwd`` and PyTorch 2.15 refuse."""
    for offsets in (cu_seq_q, cu_seq_k):
        assert offsets.dtype == torch.int32
        assert offsets.is_contiguous()
        assert len(offsets) == len(cu_seq_q) > 1
    assert cu_seq_q[-1] == len(query)
    assert query.stride(-1) == key.stride(-1) == 1
    assert query.shape[-1] % 8 == 0
    assert query.shape[-1] <= 256
    assert scale is None or scale > 0


def check_pages(query, key, used, table):
    """Look at what it refuses of a paged cache."""
    assert key.shape[1] % 256 == 0
    assert used.dtype == table.dtype == torch.int32
    assert used.is_contiguous()
    assert table.stride(-1) == 1
    assert len(used) == len(table)
    assert table.min() >= 0
    assert table.max() < len(key)
    assert not (torch.is_grad_enabled() and query.requires_grad)


def old_varlen_attn(
    query,
    key,
    value,
    cu_seq_q,
    cu_seq_k,
    max_q,
    max_k,
    *,
    return_aux=None,
    scale=None,
    window_size=(-1, -1),
):
    """Do the same with what PyTorch 2.11 has."""
    assert query.shape[1] == key.shape[1]
    return varlen_attn(
        query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale=scale, window_size=window_size
    )


def use(monkeypatch, function=varlen_attn):
    """Let kernels believe that the processor has flash attention; return what it is called with."""
    import torch.nn.attention.varlen as theirs

    calls = []

    def counted(*args, **options):
        calls.append((args, options))
        return function(*args, **options)

    counted.__signature__ = varlen.inspect.signature(function)
    monkeypatch.setattr(theirs, "varlen_attn", counted)
    monkeypatch.setattr(varlen, "runs_on", lambda query: True)
    return calls
