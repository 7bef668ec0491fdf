"""Thirty-eight diseases as rules over SKINCON concepts and arrangement, with the few sentences the small decoder
knows about each.

The rules are textbook caricatures, chosen so that a picture of 112 pixels can tell the diseases apart; no medical
validity.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_BROWN, _WHITE = "Brown(Hyperpigmentation)", "White(Hypopigmentation)"
_PURPURA, _WARTY = "Purpura/Petechiae", "Warty/Papillomatous"


@dataclass(frozen=True)
class Disease:
    """always / sometimes: concepts of a case, the latter with their share of cases. urgency: `today`, `soon` or
    `routine`.
    """

    name: str
    disease_class: str
    always: tuple[str, ...]
    arrangements: tuple[str, ...]
    lay: str
    group: str
    cause: str
    treatment: str
    sometimes: dict[str, float] = field(default_factory=dict)
    counts: tuple[str, ...] = ("few",)
    contagious: bool = False
    urgency: str = "routine"


_SPREAD = ("scattered", "grouped")
_ONE = ("single",)
_BOTH = ("few", "many")

DISEASES: tuple[Disease, ...] = (
    Disease(
        "acne vulgaris", "Acne and Rosacea", ("Comedo", "Papule"), ("scattered",), "pimples", "follicle disorders",
        "oily pores blocked by keratin", "topical retinoid and benzoyl peroxide",
        {"Pustule": 0.6, "Erythema": 0.6}, ("many",),
    ),
    Disease(
        "rosacea", "Acne and Rosacea", ("Erythema", "Telangiectasia"), ("scattered",), "red cheeks",
        "follicle disorders",
        "oversensitive vessels of the face", "metronidazole cream and sun protection", {"Papule": 0.6}, _BOTH,
    ),
    Disease(
        "basal cell carcinoma", "Malignant Lesions", ("Nodule", "Telangiectasia"), _ONE, "skin cancer",
        "skin cancers",
        "years of sunlight on basal cells", "surgical excision with clear margins", {"Ulcer": 0.5}, urgency="soon",
    ),
    Disease(
        "squamous cell carcinoma", "Malignant Lesions", ("Nodule", "Scale"), _ONE, "scaly skin cancer",
        "skin cancers",
        "sun damage to squamous cells", "complete surgical removal and a check of lymph nodes",
        {"Ulcer": 0.5, "Erythema": 0.6}, urgency="soon",
    ),
    Disease(
        "keratoacanthoma", "Malignant Lesions", ("Nodule", "Umbilicated"), _ONE, "a crater tumor", "skin cancers",
        "fast growth of a hair follicle", "prompt excision and histology", {"Crust": 0.35}, urgency="soon",
    ),
    Disease(
        "atopic dermatitis", "Dermatitis", ("Patch", "Erythema", "Xerosis"), ("single", "scattered"), "eczema",
        "inflammatory diseases",
        "a weak skin barrier and allergy", "moisturizer and mild steroid cream", {"Scale": 0.4},
    ),
    Disease(
        "seborrheic dermatitis", "Dermatitis", ("Patch", "Yellow", "Scale"), ("single", "scattered"), "dandruff",
        "inflammatory diseases",
        "yeast on oily skin", "ketoconazole shampoo", {"Erythema": 0.6},
    ),
    Disease(
        "asteatotic eczema", "Dermatitis", ("Xerosis", "Scale"), _ONE, "winter itch", "inflammatory diseases",
        "loss of skin oil in dry air", "thick ointment and short lukewarm showers", {"Erythema": 0.5},
    ),
    Disease(
        "bullous pemphigoid", "Bullous Disease", ("Bulla", "Erythema"), _SPREAD, "large blisters of old age",
        "autoimmune diseases",
        "antibodies against the basement membrane", "strong steroid cream and doxycycline", counts=_BOTH,
        urgency="soon",
    ),
    Disease(
        "pemphigus vulgaris", "Bullous Disease", ("Bulla", "Crust"), _SPREAD, "breaking blisters",
        "autoimmune diseases",
        "antibodies against desmoglein", "oral prednisolone and rituximab", {"Ulcer": 0.4}, _BOTH, urgency="today",
    ),
    Disease(
        "impetigo", "Bacterial Infections", ("Crust", "Yellow", "Erythema"), _SPREAD, "school sores",
        "bacterial infections",
        "staphylococci in small wounds", "mupirocin ointment and careful washing", {"Vesicle": 0.4}, _BOTH, True,
        "soon",
    ),
    Disease(
        "folliculitis", "Bacterial Infections", ("Pustule", "Erythema"), _SPREAD, "infected hair roots",
        "bacterial infections",
        "bacteria in hair follicles", "antiseptic wash and clindamycin lotion", {"Papule": 0.3}, ("many",),
    ),
    Disease(
        "cellulitis", "Bacterial Infections", ("Patch", "Erythema"), _ONE, "a deep skin infection",
        "bacterial infections",
        "streptococci entering deep tissue", "oral flucloxacillin and rest", {"Bulla": 0.25}, urgency="today",
    ),
    Disease(
        "actinic keratosis", "Light Diseases", ("Macule", "Scale", "Erythema"), _SPREAD,
        "sun spots that feel rough", "light diseases",
        "long exposure to ultraviolet light", "cryotherapy or fluorouracil cream", {"Crust": 0.2}, _BOTH,
        urgency="soon",
    ),
    Disease(
        "solar lentigo", "Light Diseases", ("Macule", _BROWN), _SPREAD, "age spots", "light diseases",
        "pigment cells stimulated by the sun", "sunscreen and laser if wished", counts=_BOTH,
    ),
    Disease(
        "discoid lupus", "Connective Tissue diseases", ("Plaque", "Scale", _WHITE, "Erythema"),
        ("single", "scattered"), "lupus of the skin",
        "autoimmune diseases", "autoimmunity made worse by light", "hydroxychloroquine and strict sun protection",
        {"Telangiectasia": 0.3},
        urgency="soon",
    ),
    Disease(
        "morphea", "Connective Tissue diseases", ("Plaque", _WHITE, "Purple"), _ONE, "hard white skin",
        "autoimmune diseases",
        "too much collagen in the dermis", "phototherapy and methotrexate", {"Telangiectasia": 0.2}, urgency="soon",
    ),
    Disease(
        "dermatomyositis", "Connective Tissue diseases", ("Papule", "Purple", "Telangiectasia"),
        ("grouped", "in a line"),
        "a rash with weak muscles", "autoimmune diseases", "immune attack on muscle and skin",
        "prednisolone with azathioprine", {"Scale": 0.3},
        ("many",), urgency="soon",
    ),
    Disease(
        "seborrheic keratosis", "Benign Tumors", ("Plaque", _BROWN, _WARTY), ("single", "scattered"), "age warts",
        "benign tumors",
        "harmless growth of keratinocytes with age", "no treatment or curettage", {"Black": 0.2},
    ),
    Disease(
        "dermatofibroma", "Benign Tumors", ("Nodule", _BROWN), _ONE, "a firm brown button", "benign tumors",
        "scar-like growth after a small injury", "reassurance or simple removal", {"Erythema": 0.2},
    ),
    Disease(
        "epidermoid cyst", "Benign Tumors", ("Nodule", "Comedo"), _ONE, "a sac under the skin", "benign tumors",
        "keratin trapped in a sac", "removal of the whole sac", {"Yellow": 0.3, "Erythema": 0.2},
    ),
    Disease(
        "xanthelasma", "Benign Tumors", ("Plaque", "Yellow"), ("grouped", "scattered"), "fatty deposits",
        "benign tumors",
        "cholesterol stored in macrophages", "a check of blood fats and laser", counts=_BOTH,
    ),
    Disease(
        "melanoma", "Melanoma Skin Cancer, Nevi, Moles", ("Plaque", "Black", _BROWN), _ONE, "black skin cancer",
        "skin cancers",
        "malignant change of pigment cells", "urgent wide excision and staging", {"Ulcer": 0.2, "Erythema": 0.2},
        urgency="today",
    ),
    Disease(
        "melanocytic nevus", "Melanoma Skin Cancer, Nevi, Moles", ("Papule", _BROWN), ("single", "scattered"),
        "a mole", "benign tumors",
        "a harmless nest of pigment cells", "observation with photographs", {"Black": 0.15},
    ),
    Disease(
        "tinea corporis", "Fungal Infections", ("Plaque", "Scale", "Erythema"), ("ring",), "ringworm",
        "fungal infections",
        "a fungus living on keratin", "terbinafine cream", {"Pustule": 0.2}, contagious=True,
    ),
    Disease(
        "candidiasis", "Fungal Infections", ("Patch", "Pustule", "Erythema"), ("single", "scattered"), "thrush",
        "fungal infections",
        "candida growing in warm moist folds", "nystatin and keeping the folds dry", {"Scale": 0.2},
    ),
    Disease(
        "tinea versicolor", "Fungal Infections", ("Macule", _WHITE, "Scale"), _SPREAD, "sun fungus",
        "fungal infections",
        "malassezia yeast changing the pigment", "selenium sulfide lotion", counts=("many",),
    ),
    Disease(
        "psoriasis", "Psoriasis and Lichen Planus", ("Plaque", "Scale", "Erythema"), ("single", "scattered"),
        "silver scales",
        "inflammatory diseases", "immune signals that speed up skin growth", "calcipotriol with betamethasone",
        {"Xerosis": 0.15},
    ),
    Disease(
        "lichen planus", "Psoriasis and Lichen Planus", ("Papule", "Purple"), _SPREAD, "purple itchy bumps",
        "inflammatory diseases",
        "lymphocytes attacking basal keratinocytes", "clobetasol ointment", {"Scale": 0.3}, ("many",),
    ),
    Disease(
        "scabies", "Infestations and Bites", ("Papule", "Erythema"), ("in a line",), "the itch", "parasitic diseases",
        "mites digging in the skin", "permethrin cream for the whole household", {"Crust": 0.4}, ("many",), True,
        "soon",
    ),
    Disease(
        "insect bites", "Infestations and Bites", ("Wheal", "Papule", "Erythema"), ("grouped", "in a line"),
        "bug bites", "parasitic diseases",
        "saliva of biting insects", "cold packs and an antihistamine", {"Vesicle": 0.2}, _BOTH,
    ),
    Disease(
        "urticaria", "Urticaria Hives", ("Wheal", "Erythema"), ("scattered", "ring"), "hives", "allergic diseases",
        "histamine from mast cells", "cetirizine and avoiding triggers", counts=_BOTH,
    ),
    Disease(
        "urticarial vasculitis", "Urticaria Hives", ("Wheal", "Purpura/Petechiae"), ("scattered", "grouped"),
        "hives that bruise",
        "allergic diseases", "immune complexes in small vessels", "colchicine and blood tests", {"Erythema": 0.4},
        _BOTH, urgency="soon",
    ),
    Disease(
        "Kaposi sarcoma", "Vascular Tumors", ("Plaque", "Purple"), _SPREAD, "purple tumors", "vascular tumors",
        "herpesvirus eight in vessel cells", "antiviral therapy and radiotherapy", {"Nodule": 0.4}, _BOTH,
        urgency="soon",
    ),
    Disease(
        "pyogenic granuloma", "Vascular Tumors", ("Nodule", "Erythema"), _ONE, "a bleeding red knob",
        "vascular tumors",
        "quick growth of capillaries after injury", "shave removal and cautery", {"Crust": 0.4},
    ),
    Disease(
        "herpes zoster", "Herpes", ("Vesicle", "Erythema"), ("in a line",), "shingles", "viral infections",
        "reactivation of varicella virus in a nerve", "valacyclovir and pain control", {"Crust": 0.3}, ("many",),
        True, "today",
    ),
    Disease(
        "herpes simplex", "Herpes", ("Vesicle", "Erythema"), ("grouped",), "cold sores", "viral infections",
        "herpes simplex virus", "acyclovir cream started early", {"Crust": 0.3}, ("many",), True,
    ),
    Disease(
        "chickenpox", "Herpes", ("Vesicle", "Umbilicated", "Erythema"), ("scattered",), "varicella",
        "viral infections",
        "first infection with varicella virus", "calamine lotion and fluids", {"Crust": 0.4, "Pustule": 0.2},
        ("many",), True, "soon",
    ),
)  # fmt: skip

DISEASES_BY_NAME: dict[str, Disease] = {disease.name: disease for disease in DISEASES}
