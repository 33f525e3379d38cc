"""mBART's Unigram: XLM-RoBERTa's, with a token that says the language of each text.

mBART writes ``text </s> language`` (Liu et al., 2020, section 2.2), mBART-50 ``language text </s>``
(Tang et al., 2020). What the model is to write is framed likewise, in the target's language.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from tokenizers import Encoding, Regex
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.normalizers import Replace
from tokenizers.normalizers import Sequence as NormalizerSequence
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing

from regard.errors import listing, nearest
from regard.text import files
from regard.text.families.family import with_extra
from regard.text.families.unigram import XLMRobertaTokenizer
from regard.text.inputs import Texts
from regard.text.options import Truncation
from regard.text.pieces import PieceModel

_LANGUAGES = (
    "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT "
    "lv_LV my_MM ne_NP nl_XX ro_RO ru_RU si_LK tr_TR vi_VN zh_CN"
)
_MORE_LANGUAGES = (
    "af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN pl_PL ps_AF "
    "pt_XX sv_SE sw_KE ta_IN te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES sl_SI"
)


class MBartTokenizer(XLMRobertaTokenizer):
    """mBART's Unigram: ``text </s> language``, for sources and for targets.

    Attributes:
        tgt_lang: The language of targets, such as ``"ro_RO"``; None takes that of sources.
    """

    #: The codes of the languages, in the order of their numbers.
    languages: ClassVar[tuple[str, ...]] = tuple(_LANGUAGES.split())
    setting_names = (*XLMRobertaTokenizer.setting_names, "src_lang", "tgt_lang")
    saved_class = "MBartTokenizer"

    def _set_up(self, rust: RustTokenizer, config: Mapping[str, Any], owner: str) -> None:
        given = {token.content for token in files.read_extra(config, owner)}
        # Those that are there: a language that the model was not taught has no number to be given.
        there = [code for code in self.languages if rust.token_to_id(code) is not None]
        super()._set_up(rust, with_extra(config, [x for x in there if x not in given]), owner)
        self.src_lang = config.get("src_lang") or "en_XX"
        self.tgt_lang: str | None = config.get("tgt_lang")

    @property
    def src_lang(self) -> str:
        """The language of sources, such as ``"en_XX"``."""
        return self._src_lang

    @src_lang.setter
    def src_lang(self, language: str) -> None:
        self.backend_tokenizer.post_processor = self._frame_of("src_lang", language)
        self._src_lang = language

    @property
    def lang_code_to_id(self) -> dict[str, int]:
        """The numbers of the languages; a translator's ``forced_bos_token_id`` is one."""
        numbers = {code: self.backend_tokenizer.token_to_id(code) for code in self.languages}
        return {code: number for code, number in numbers.items() if number is not None}

    @classmethod
    def numbered(
        cls, model: PieceModel, config: Mapping[str, Any], owner: str
    ) -> list[tuple[str, float]]:
        """Return XLM-RoBERTa's pieces with the languages before the mask."""
        *pieces, mask = super().numbered(model, config, owner)
        return [*pieces, *((code, 0.0) for code in cls.languages), mask]

    @classmethod
    def frame(cls, rust: RustTokenizer, config: Mapping[str, Any], owner: str) -> None:
        """Add the special tokens; what stands around a text follows from its language."""
        cls.add_named(rust, config, owner)

    def _around(self, language: str) -> tuple[list[str], list[str]]:
        """Return the tokens before and after a text in `language`."""
        return [], [str(self.eos_token), language]

    def _frame_of(self, setting: str, language: str) -> TemplateProcessing:
        languages = self.extra_special_tokens
        if language not in languages:
            raise ValueError(
                f"{setting}={language!r} is no language of this tokenizer"
                f"{nearest(language, languages)}; it has {listing(languages, len(languages))}"
            )
        before, after = self._around(language)
        find = self.backend_tokenizer.token_to_id  # special tokens always have a number
        numbers = [(token, cast("int", find(token))) for token in (*before, *after)]
        return TemplateProcessing(
            single=[*before, "$A", *after],
            pair=[*before, "$A", "$B", *after],
            special_tokens=numbers,
        )

    def _run(
        self,
        texts: Texts,
        *,
        special: bool = True,
        truncation: Truncation | None = None,
        offsets: bool = True,
        target: bool = False,
    ) -> list[Encoding]:
        frame = self._frame_of("tgt_lang", self.tgt_lang or self.src_lang) if target else None
        return self._encoder.encode(
            texts, special=special, truncation=truncation, offsets=offsets, frame=frame
        )

    def _saved_config(self) -> dict[str, Any]:
        return super()._saved_config() | {"src_lang": self.src_lang, "tgt_lang": self.tgt_lang}


class MBart50Tokenizer(MBartTokenizer):
    """mBART-50's Unigram: ``language text </s>``, with more languages."""

    languages = (*MBartTokenizer.languages, *_MORE_LANGUAGES.split())
    saved_class = "MBart50Tokenizer"

    @classmethod
    def split(cls, rust: RustTokenizer, model: PieceModel, words: Metaspace) -> None:
        """Set that a text is normalized and split at single spaces."""
        steps = [] if model.normalizer is None else [model.normalizer]
        rust.normalizer = NormalizerSequence([*steps, Replace(Regex(" {2,}"), " ")])
        rust.pre_tokenizer = words

    def _around(self, language: str) -> tuple[list[str], list[str]]:
        return [language], [str(self.eos_token)]


#: The names of the same classes before the field had only one of each.
MBartTokenizerFast = MBartTokenizer
MBart50TokenizerFast = MBart50Tokenizer
