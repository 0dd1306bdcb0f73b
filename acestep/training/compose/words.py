"""Words to sing, all written for this project: English by the word, other languages as halves of lines.

``-`` parts the syllables of a word. Chinese is sung a character at a time, Japanese (in kana) a mora at a time, so
neither is hyphenated. In: nothing. Out: tables. Refuses to know notes and sections.
"""

from __future__ import annotations

# Upper-case letters are filled in: N noun, A adjective, V verb, G gerund, R the rhyme word.
ENGLISH_TEMPLATES = (
    "I V the A N in the R",
    "we V the N a-long the R",
    "you V me to the A R",
    "G in the A R",
    "ev-ery N is G to the R",
    "hold my N be-fore the R",
    "o-ver the N and un-der the R",
    "there is a N be-hind the R",
    "noth-ing but a N and the R",
    "tell me of the N be-yond the R",
    "I am G through the R",
    "we are G near the A R",
    "let us V an-oth-er R",
    "take me where the N meets the R",
    "on-ly the A N knows the R",
    "I keep a N with-in the R",
    "say you will V the R",
    "no one can V this A R",
)
ENGLISH_WORDS = {
    "N": (
        "riv-er shad-ow win-dow moun-tain sum-mer whis-per mem-o-ry o-cean mead-ow lan-tern can-dle moon sun song "
        "star dream voice fire wind wave cloud mir-ror sto-ry gar-den bridge jour-ney prom-ise feath-er har-bor hand"
    ).split(),
    "A": (
        "gold-en si-lent sil-ver gen-tle bro-ken hid-den end-less qui-et dis-tant bright blue wild warm slow lone-ly "
        "ten-der rest-less fad-ed crys-tal old new cold sweet pale deep"
    ).split(),
    "V": (
        "car-ry fol-low carve paint chase find hear call need trust sing hold feel dis-cov-er re-mem-ber bor-row "
        "gath-er o-pen leave love know bring"
    ).split(),
    "G": (
        "run-ning danc-ing fall-ing dream-ing wait-ing walk-ing turn-ing sing-ing drift-ing burn-ing shin-ing "
        "fly-ing com-ing float-ing reach-ing"
    ).split(),
}
# Words that rhyme within a row; each can follow "the".
ENGLISH_RHYMES = tuple(
    row.split()
    for row in (
        "night light sight flight height mid-night",
        "day way bay clay high-way",
        "rain train plain lane win-dow-pane",
        "sea tree key mel-o-dy",
        "fire wire choir camp-fire",
        "stone throne zone un-known",
        "sound ground mound mer-ry-go-round",
        "air stair square prayer fair",
        "road load code a-bode",
        "start heart part chart art",
        "door floor shore store",
        "sky lull-a-by but-ter-fly good-bye",
        "snow glow bow rain-bow",
        "line sign wine de-sign shrine",
        "town crown gown",
        "dawn lawn fawn",
    )
)

# By language: first halves and second halves; any two make a line.
HALVES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "es": (
        (
            "voy can-tan-do", "que-da tu voz", "bai-la la luz", "sue-ño con-ti-go", "si-gue mi co-ra-zón",
            "vuel-ve la llu-via", "na-ce el sol", "guar-do tu nom-bre", "ca-mi-no so-lo", "bri-lla u-na es-tre-lla",
        ),
        (
            "ba-jo la lu-na", "en la ma-ña-na", "so-bre la a-re-na", "por la la-gu-na", "jun-to al mar",
            "has-ta lle-gar", "sin des-per-tar", "den-tro de mí", "cer-ca de ti", "en tu ven-ta-na",
        ),
    ),
    "de": (
        (
            "ich hö-re dei-ne Stim-me", "wir tan-zen lei-se", "der Wind er-zählt", "ein Licht bleibt wach",
            "komm mit mir", "die Ster-ne sin-gen", "ich ge-he wei-ter", "al-les wird still", "du fin-dest mich",
        ),
        (
            "durch die Nacht", "bis der Mor-gen lacht", "ü-ber das Meer", "von weit her", "in dei-nem Traum",
            "un-ter dem Baum", "oh-ne ein Wort", "an ei-nen an-dern Ort", "in dem gol-de-nen Licht",
        ),
    ),
    "fr": (
        (
            "je chan-te en-core", "la pluie des-cend", "tu dan-ses seule", "le vent m'ap-pelle",
            "on mar-che en-semble", "mon cœur s'en-vole", "la lune se lève", "j'at-tends ta voix", "le jour re-vient",
        ),
        (
            "dans la nuit", "sans un bruit", "jus-qu'au ma-tin", "sur le che-min", "au bord de l'eau",
            "dans un châ-teau", "sous la lu-mière", "près de la mer", "loin de la terre",
        ),
    ),
    "it": (
        (
            "can-to per te", "la not-te vo-la", "il ven-to par-la", "re-sta con me", "na-sce u-na lu-ce",
            "so-gno la lu-na", "il cuo-re bal-la", "tor-na la se-ra", "cam-mi-no pia-no",
        ),
        (
            "sul-la col-li-na", "o-gni mat-ti-na", "den-tro il ma-re", "e non so per-ché", "in-sie-me a te",
            "fi-no a do-ma-ni", "nel-le mie ma-ni", "sen-za par-la-re", "sot-to le stel-le",
        ),
    ),
    "pt": (
        (
            "eu can-to o di-a", "a chu-va cai", "o ven-to cha-ma", "vem co-mi-go", "a noi-te dan-ça",
            "meu so-nho vo-a", "a lu-a su-be", "vol-to pra ca-sa", "bri-lha u-ma luz",
        ),
        (
            "per-to do mar", "sem a-cor-dar", "na ma-dru-ga-da", "pe-la es-tra-da", "no teu o-lhar",
            "jun-to de ti", "den-tro de mim", "a-té o fim", "no meu jar-dim",
        ),
    ),
    "zh": (
        ("微风轻轻", "月光慢慢", "你的声音", "远方的灯", "我在梦里", "星星悄悄", "一条小河", "春天的雨", "那片白云"),
        ("吹过山岗", "照在路上", "落在心上", "陪我飞翔", "等着天亮", "流向海洋", "唱到天亮", "开满花香", "不再彷徨"),
    ),
    "ja": (
        ("よるのそら", "きみのこえ", "しろいくも", "ちいさなほし", "かぜのなか", "あおいうみ",
         "はるのあめ", "とおいまち", "きみと", "よるに", "ほしが", "はるは"),
        ("ゆれるひかり", "うたがきこえる", "ゆめをみてる", "そっとながれて",
         "あしたをまつよ", "きょうもうたう", "わらってる", "うたって", "ゆれてる"),
    ),
}  # fmt: skip
