"""`AutoTokenizer`, which finds the tokenizer class that a folder needs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regard.checkpoints.files import CheckpointFolder, adapter_base, find_checkpoint
from regard.errors import CheckpointError, CheckpointNotFoundError, listing
from regard.text import files
from regard.text.families.byte_level import GPT2Tokenizer, RobertaTokenizer
from regard.text.families.llama import LlamaTokenizer
from regard.text.families.marian import MarianTokenizer
from regard.text.families.mbart import MBart50Tokenizer, MBartTokenizer
from regard.text.families.unigram import CamembertTokenizer, T5Tokenizer, XLMRobertaTokenizer
from regard.text.families.wordpiece import BertTokenizer, DistilBertTokenizer
from regard.text.tokenizer import Tokenizer

#: The tokenizer of each ``model_type``.
FAMILIES: dict[str, type[Tokenizer]] = {
    "bart": RobertaTokenizer,
    "bert": BertTokenizer,
    "camembert": CamembertTokenizer,
    "distilbert": DistilBertTokenizer,
    "electra": BertTokenizer,
    "gpt2": GPT2Tokenizer,
    "llama": LlamaTokenizer,
    "marian": MarianTokenizer,
    "mbart": MBartTokenizer,
    "mt5": T5Tokenizer,
    "roberta": RobertaTokenizer,
    "t5": T5Tokenizer,
    "xlm-roberta": XLMRobertaTokenizer,
}

#: The tokenizer of each ``tokenizer_class``, which a folder may name itself, with or without Fast.
CLASSES: dict[str, type[Tokenizer]] = {
    "BartTokenizer": RobertaTokenizer,
    "BertTokenizer": BertTokenizer,
    "CamembertTokenizer": CamembertTokenizer,
    "DistilBertTokenizer": DistilBertTokenizer,
    "ElectraTokenizer": BertTokenizer,
    "GPT2Tokenizer": GPT2Tokenizer,
    "LlamaTokenizer": LlamaTokenizer,
    "MBart50Tokenizer": MBart50Tokenizer,
    "MBartTokenizer": MBartTokenizer,
    "MT5Tokenizer": T5Tokenizer,
    "MarianTokenizer": MarianTokenizer,
    "RobertaTokenizer": RobertaTokenizer,
    "T5Tokenizer": T5Tokenizer,
    "XLMRobertaTokenizer": XLMRobertaTokenizer,
}


class AutoTokenizer:
    """Finds the tokenizer class that a checkpoint needs."""

    @staticmethod
    def from_pretrained(
        name_or_folder: str | Path,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        gguf_file: str | None = None,
        **overrides: Any,
    ) -> Tokenizer:
        """Load the tokenizer of a checkpoint; see `Tokenizer.from_pretrained`.

        The class is the one that tokenizer_config.json or else config.json names, else the one of
        the ``model_type`` in config.json; a tokenizer.json of any other class is a plain
        `Tokenizer`. A folder with an adapter and no tokenizer has the one of the adapter's base.
        ``use_fast`` is taken and means nothing: there is one kind of tokenizer.

        Raises:
            CheckpointError: The class is unknown and there is no tokenizer.json.
        """
        where: dict[str, Any] = {
            "cache_dir": cache_dir,
            "local_files_only": local_files_only,
            "token": token,
        }
        folder = find_checkpoint(name_or_folder, revision=revision, gguf_file=gguf_file, **where)
        if not any(folder.find(file) for file in (files.CONFIG_FILE, files.TOKENIZER_FILE)):
            base = adapter_base(folder)
            folder = folder if base is None else _of_base(folder, base, where)
        settings = {name: value for name, value in overrides.items() if name != "use_fast"}
        return _class_for(folder).from_folder(folder, settings)


def _of_base(
    folder: CheckpointFolder, base: tuple[str, str | None], where: Mapping[str, Any]
) -> CheckpointFolder:
    """Return the checkpoint of an adapter's base."""
    name, revision = base
    try:
        return find_checkpoint(name, revision=revision, **where)
    except CheckpointNotFoundError as error:
        raise CheckpointNotFoundError(
            f"{folder.name}: the adapter has no tokenizer of its own, and its base is not there: "
            f"{error}"
        ) from error


def _class_for(folder: CheckpointFolder) -> type[Tokenizer]:
    """Return the class that the files of a folder ask for."""
    config = folder.read_json(files.CONFIG_FILE) if folder.find(files.CONFIG_FILE) else {}
    stated = config.get("tokenizer_class")
    model = {} if stated or not folder.find("config.json") else folder.read_json("config.json")
    name = str(stated or model.get("tokenizer_class") or "").removesuffix("Fast")
    named = CLASSES.get(name) if name else FAMILIES.get(str(model.get("model_type")))
    whole = folder.find(files.TOKENIZER_FILE)
    if named is not None and (whole is None or named.reads(folder)):
        return named
    if whole is not None:
        return Tokenizer
    found = f"the class {name}" if name else "no known model_type"
    raise CheckpointError(
        f"{folder.name}: no tokenizer.json, and {found}; the families that can be read without one "
        f"are {listing(FAMILIES, len(FAMILIES))}: load such a folder with their own class"
    )
