"""Names and codes of languages, brought to ISO 639-1."""

from __future__ import annotations

from functools import lru_cache

_TABLE = """
aa aar afar|ab abk abkhazian|ae ave avestan|af afr afrikaans|ak aka akan|am amh amharic|an arg aragonese|
ar ara arabic|as asm assamese|av ava avaric|ay aym aymara|az aze azerbaijani|ba bak bashkir|be bel belarusian|
bg bul bulgarian|bi bis bislama|bm bam bambara|bn ben bengali bangla|bo bod tib tibetan|br bre breton|bs bos bosnian|
ca cat catalan|ce che chechen|ch cha chamorro|co cos corsican|cr cre cree|cs ces cze czech|cu chu|cv chv chuvash|
cy cym wel welsh|da dan danish|de deu ger german deutsch|dv div dhivehi maldivian|dz dzo dzongkha|ee ewe|
el ell gre greek|en eng english|eo epo esperanto|es spa spanish castilian|et est estonian|eu eus baq basque|
fa fas per persian farsi|ff ful fulah|fi fin finnish|fj fij fijian|fo fao faroese|fr fra fre french|fy fry frisian|
ga gle irish|gd gla gaelic|gl glg galician|gn grn guarani|gu guj gujarati|gv glv manx|ha hau hausa|he iw heb hebrew|
hi hin hindi|ho hmo|hr hrv croatian|ht hat haitian|hu hun hungarian|hy hye arm armenian|hz her herero|
ia ina interlingua|id in ind indonesian|ie ile interlingue|ig ibo igbo|ii iii|ik ipk inupiaq|io ido|
is isl ice icelandic|it ita italian|iu iku inuktitut|ja jpn japanese|jv jw jav javanese|ka kat geo georgian|
kg kon kongo|ki kik kikuyu|kj kua kuanyama|kk kaz kazakh|kl kal kalaallisut greenlandic|km khm khmer|kn kan kannada|
ko kor korean|kr kau kanuri|ks kas kashmiri|ku kur kurdish|kv kom komi|kw cor cornish|ky kir kyrgyz|la lat latin|
lb ltz luxembourgish|lg lug ganda luganda|li lim limburgish|ln lin lingala|lo lao|lt lit lithuanian|lu lub|
lv lav latvian|mg mlg malagasy|mh mah marshallese|mi mri mao maori|mk mkd mac macedonian|ml mal malayalam|
mn mon mongolian|mr mar marathi|ms msa may malay|mt mlt maltese|my mya bur burmese|na nau nauru|nb nob bokmal|nd nde|
ne nep nepali|ng ndo ndonga|nl nld dut dutch flemish|nn nno nynorsk|no nor norwegian|nr nbl|nv nav navajo|
ny nya chichewa nyanja|oc oci occitan|oj oji ojibwa|om orm oromo|or ori oriya odia|os oss ossetian|pa pan punjabi|
pi pli pali|pl pol polish|ps pus pashto|pt por portuguese|qu que quechua|rm roh romansh|rn run rundi|
ro ron rum romanian moldovan|ru rus russian|rw kin kinyarwanda|sa san sanskrit|sc srd sardinian|sd snd sindhi|
se sme sami|sg sag sango|si sin sinhala sinhalese|sk slk slo slovak|sl slv slovenian|sm smo samoan|sn sna shona|
so som somali|sq sqi alb albanian|sr srp serbian|ss ssw swati|st sot sotho|su sun sundanese|sv swe swedish|
sw swa swahili|ta tam tamil|te tel telugu|tg tgk tajik|th tha thai|ti tir tigrinya|tk tuk turkmen|
tl tgl fil tagalog filipino|tn tsn tswana|to ton tongan|tr tur turkish|ts tso tsonga|tt tat tatar|tw twi|
ty tah tahitian|ug uig uighur uyghur|uk ukr ukrainian|ur urd urdu|uz uzb uzbek|ve ven venda|vi vie vietnamese|
vo vol volapuk|wa wln walloon|wo wol wolof|xh xho xhosa|yi yid yiddish|yo yor yoruba|za zha zhuang|
zh zho chi cmn yue chinese mandarin cantonese|zu zul zulu
"""


@lru_cache(maxsize=1)
def _codes() -> dict[str, str]:
    lines = (entry.split() for entry in _TABLE.replace("\n", "").split("|"))
    return {word: code for code, *words in lines for word in (code, *words)}


def iso_639_1(given: str) -> str:
    """The two-letter code: "en-US", "eng" and "English" are "en"; '' for what is none of these."""
    return _code(given) if len(given) <= 64 else ""


@lru_cache(maxsize=1024)
def _code(given: str) -> str:
    word = given.strip().lower().replace("_", "-").partition("-")[0].partition(" (")[0]
    return _codes().get(word, "")
