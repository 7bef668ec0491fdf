"""The fixed words of the field: SKINCON's concepts, the paper's diagnosis classes, and the questions asked of a
photograph.
"""

from __future__ import annotations

# SKINCON (Daneshjou et al. 2022), in the order of the columns of the published annotation files.
CONCEPTS: tuple[str, ...] = (
    "Vesicle", "Papule", "Macule", "Plaque", "Abscess", "Pustule", "Bulla", "Patch", "Nodule", "Ulcer", "Crust",
    "Erosion", "Excoriation", "Atrophy", "Exudate", "Purpura/Petechiae", "Fissure", "Induration", "Xerosis",
    "Telangiectasia", "Scale", "Scar", "Friable", "Sclerosis", "Pedunculated", "Exophytic/Fungating",
    "Warty/Papillomatous", "Dome-shaped", "Flat topped", "Brown(Hyperpigmentation)", "Translucent",
    "White(Hypopigmentation)", "Purple", "Yellow", "Black", "Erythema", "Comedo", "Lichenification", "Blue",
    "Umbilicated", "Poikiloderma", "Salmon", "Wheal", "Acuminate", "Burrow", "Gray", "Pigmented", "Cyst",
)  # fmt: skip

# SkinGPT-4, Table 2: fifteen classes of diagnoses.
CLASSES: tuple[str, ...] = (
    "Acne and Rosacea",
    "Malignant Lesions",
    "Dermatitis",
    "Bullous Disease",
    "Bacterial Infections",
    "Light Diseases",
    "Connective Tissue diseases",
    "Benign Tumors",
    "Melanoma Skin Cancer, Nevi, Moles",
    "Fungal Infections",
    "Psoriasis and Lichen Planus",
    "Infestations and Bites",
    "Urticaria Hives",
    "Vascular Tumors",
    "Herpes",
)

# What the two fine-tuning steps ask (step 2 draws one of its two wordings per sample) ...
CONCEPT_PROMPT = "Could you describe the medical concepts of skin disease in this image for me?"
DIAGNOSIS_PROMPTS: tuple[str, ...] = (
    "What's wrong with my skin?",
    "Could you describe the skin disease in this image for me?",
)

# ... and what they answer.
CONCEPT_ANSWER = "This is a skin disease image with following clinical concepts: {concepts}"
DIAGNOSIS_ANSWER = "This could be a skin disease image of {disease}."

# The paper's clinical evaluation asks these four, in this order, in one conversation about one photograph.
CLINICAL_PROMPTS: tuple[str, ...] = (
    "Could you describe the skin disease in this image for me?",
    "Please provide a paragraph listing additional features you observed in the image.",
    "Based on the previous information, please provide a detailed explanation of the cause of this skin disease.",
    "What treatment and medication should be recommended for this case?",
)

NOT_A_DIAGNOSIS = "This is a research model. Its answer is not a diagnosis by a doctor; please see one about your skin."

# Shown beside it wherever the small model of the package answers.
EMBEDDED_NOTICE = (
    "This is the small model that comes with the package: it was trained on synthetic pictures and knows nothing about "
    "real skin."
)
