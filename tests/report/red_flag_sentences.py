"""What people write and what models answer, with the flags that each must raise.

The first 96 were written beside the rules. Another 140 came later, in two lots, without a look at the rules: before
anything was changed for them, 68 of 78 and then 59 of 62 were right. Then an audit named 34 that were wrong, and of
40 that were written once these had been put right, 33 were right at once. The last 40 probe what that had widened.
"""

from __future__ import annotations

Sentences = tuple[tuple[str, tuple[str, ...]], ...]

# Of users, " | " between them; ids that each must raise: sentences.
_RAISING = """
anaphylaxis:
My lips are swollen and I can't breathe well | hives all over and wheezing since I ate nuts | My tongue is swelling!
my face is swollen and I am short of breath | Itchy welts after a wasp sting, feeling faint
Lips tingling and swollen, throat feels tight | Lips swollen and I can hardly breathe
my lips are swelling and I have difficulties breathing | Generalized urticaria with dyspnea and hypotension
Her cheeks puffed up after the peanut and she is fighting for air
Ate shrimp, broke out in hives, breathing is getting harder
Eyelids ballooned after the bee sting. Feels like I am choking.
spreading-redness-with-fever:
The redness on my leg is spreading fast and I have a fever of 39.2 °C. | red streaks are running up my arm
My foot is hot and swollen. I had chills all night. | Fever? Yes, since Monday. The skin on my shin is red and hot.
My leg got red and hot yesterday, today the redness has spread to the knee. Temp 38.7C and shivering
Temperature is 39, big red area around the insect bite which is expanding | Rapidly progressive erythema with pyrexia
redness is getting bigger and I have a fever | the redness is getting larger every hour and I have fever
red area is creeping up my leg and I have temperature | my leg is red and I'm running a temperature of 102
I have a tempreature and the rash is spreading quickly | erythema of the leg, febrile, spreading
My shin turned bright red overnight, I've got the shivers | calf is red and sore and my temp is up to 38.9
The pink patch around the bite keeps growing outward and I'm burning up
Erythema extending proximally up the forearm, patient pyrexial
My kid was excluded from nursery with a fever and the rash is spreading
blisters-with-mouth-sores:
rash everywhere, feverish, my mouth is full of ulcers | target lesions with oral erosions and fever
Widespread bullae with mucosal involvement | bullae and erosions of the lips
my skin is coming off after taking antibiotics
Sulfa tablets for a week, now blisters and the inside of my mouth is raw
skin started falling off in patches since I was prescribed carbamazepine
purple-rash-with-fever:
rash that doesn't disappear when pressed, fever | rash does not go away when I press on it and fever
purple rash, my child is very sleepy | Little red dots on my son's tummy stay put when I press a tumbler against them
palpable purpura and pyrexia | toddler with purplish blotches, lethargic and off his food
baby-with-fever:
baby with fever and rash | My two month old has a rash and feels feverish
fast-growing-lump:
a lump grows very fast | this knob on my forehead has tripled in size since Easter, a firm lump
bleeding-or-not-healing:
It bleeds every time I touch it | there is a sore on my lip that won’t heal | The spot on my nose bled twice last week.
I have had an open sore for three months | It bleeds without being touched. | I don't know why but it keeps bleeding
It doesn't hurt, it bleeds. | Is it normal that it bleeds? | Could this bleeding bump be dangerous?
Bleeding? Yes. Fever? No. | pimple on my nose that bleeds whenever I wash my face, for 6 weeks now
I have a scab on my scalp that keeps coming back for months | The wound hasn't healed for five weeks
there's blood on my pillow every morning from this bump | It used to bleed but not any more. | the bleeding won't stop
Nope, it bleeds sometimes | I can't stop the bleeding | Never stops bleeding. | I cut myself shaving and it bled a bit
Every few days a crust forms, falls off, and it bleeds again. | This thing on my ear just will not heal
sore on my shin for over a month | I was told it could bleed | a spot on my ear that scabs over and over
the scab on my temple falls off and comes back, again and again | It is not painful, bleeds or oozes every day
A pimple-like thing that just refuses to close up and weeps blood | It is not healing, bleeding or oozing every day
eczema-with-blisters:
Painful vesicles in a patient with atopic eczema | known eczema, now lots of tender little blisters on the neck
infection-with-extreme-pain:
wound smells and black skin | The cut on my foot stinks and the skin has gone completely black
changing-mole:
My mole has grown a lot in the last two months. | I have a mole on my back. It has changed its colour.
THE MOLE ON MY ARM IS GETTING BIGGER AND DARKER | Why does my birthmark itch all the time? | new mole at age 60
This brown spot looks different from my others, with an irregular edge | the naevus on her shoulder is asymmetrical
Hi, I saw a black spot on my calf 4 months ago, it got larger, the border looks jagged. Should I worry?
my wife says the mole behind my ear looks darker than last year | I have a freckle that started to itch and crust.
Got a new mole at age 50, nearly 8mm wide, two colors | Mole on stomach, changed shape | mole turned black
my beauty mark is raised now and hurts when I press it | I have freckles and they get darker in summer
There's this mole that has 3 different colours in it | a dark spot that was not there before | mole is weeping
blood in the mole | mole with several shades of brown and black | moll is getting biger
my freckle is biger then last yr | I never had this mole before, it showed up in spring
my mole looks like it has three shades and a fuzzy border | that brown mark on my thigh became black over the summer
My mole on my arm is turning black
changing-mole bleeding-or-not-healing:
mole on my back is bleding | There was a drop of blood on my mole this morning
The mole hasn't grown or itched, bled last week
blisters-with-mouth-sores bleeding-or-not-healing:
Stripping of the skin, conjunctivitis and ulcerated lips with high fever
cancer-named:
The biopsy ruled out eczema, showing melanoma | They have not ruled out melanoma
"""
_HARMLESS = """
I've had this mole since childhood and it hasn't changed. | Can moles grow? | What is a mole? | Does it bleed?
My mole has not changed, not grown and does not itch. | It itches but there is no bleeding. | Is this melanoma?
It does not bleed, itch or hurt. | No bleeding, no pain, no fever. | What should I do if it bleeds? | Is it contagious?
Bleeding: no. Itching: yes. | Is bleeding a bad sign in psoriasis? | I have never noticed any bleeding
The redness is spreading, but I have no fever. | I have a fever and a runny nose | blisters on my hand, no mouth sores
Purple spots on my legs without fever | I have blisters on my foot from new shoes. | I have shingles on my back
I have hives but no trouble breathing | My baby has nappy rash, no fever | Mosquito bites on my legs, they itch
A soft lump for ten years, always the same size | Could it be skin cancer? | What does melanoma look like?
I am worried about melanoma | What's wrong with my skin? | It has been dry and itchy since winter. | it doesnt bleed
How long does it take to heal? | Thank you very much! | A mole I've always had. Same size as ever. | is it cancer doc
I have lots of moles but none of them changed | Nothing has changed about the mole | Do birthmarks get bigger?
Thankfully it isn't bleeding. | It's itchy, not painful and not bleeding | I do not have any bleeding or discharge
neither bleeding nor pain | Would scratching make it bleed? | How can I tell if it is going to bleed? | I'm afebrile
Red skin around the cut but it isn't spreading and I've no temperature | I bruise easily, no fever
a blister on my lip | sunburn blisters on my shoulders | hives for two days, breathing is fine | Do I have skin cancer?
my eyelids are swollen in the morning | fungus in my toenail, yellow and thick | my mum had melanoma
tell me the difference between eczema and psoriasis | What cream can I use? | I'd like to know whether this is ringworm
The dark patch under my breast has been there for years unchanged | Moles run in my family | peeling skin after sunburn
Should moles be removed before they change? | the cut is healing nicely, no blood or pus | urticaria every spring
No pain, no itch, no bleeding; just ugly. | It isn't itchy and it has not bled. | No fever. Redness on my cheeks.
He said without treatment it might start to bleed | rash on both cheeks, spreads in the sun | baby has cradle cap
My rash itches, I also have asthma but no wheezing | eczema since childhood, worse in winter | HIV test was negative
our dog has mange, can I catch it? | ringworm on my arm, red ring that itches | my lipoma has been stable
I don't think it is cancer | could u tell me if this is skin cancer | how is basal cell carcinoma treated?
The mole hasn't grown, bled or itched | The mole did not grow, bleed or itch | the biopsy ruled out melanoma
The mole has never bled, itched, crusted or changed in any way | My birthmark isn't growing, bleeding or painful
Histology excluded malignancy | They took a sample and ruled out skin cancer last week
The rash is getting bigger but my temperature is 36.7 | I breathe normally and my lips are only a bit dry
Redness on my cheeks gets worse with wine | the rash goes white when I press on it, no fever
My skin peels a little after I use retinol | dark spots left over from acne, no change in years
My baby's skin is dry behind the knees | I have black skin and some eczema on my arms | My eczema is progressing slowly
lump on my wrist, does not grow quickly, doesn't hurt | canker sore in my mouth for three days
What would a mole that is turning black look like? | I have a mole and I had a blood test last week, all fine.
My moles have been the same since I was a child | Is it normal to get new moles in pregnancy?
My lips are chapped and I have a cold so I can hardly breathe through my nose | I have black skin and my feet smell
My temperature is normal and the redness on my leg is fading | The rash went away after taking antibiotics
The antihistamine made me very sleepy but the hives are gone | Peeling on my feet, no fever, no blisters
The lump hasn't grown, changed or become painful | I haven't had fever, chills or trouble breathing
No swelling of the face or trouble breathing with the hives | I had a fever last month; now a few pimples on my chin
The spots disappear when I press on them and he has no fever | The pimple does not go away even when I press it
The blister from my new shoes popped and the skin came off | I took ibuprofen for a headache and have acne
dandruff and itching of the scalp with scabs | Athlete's foot: the skin between the toes is peeling and smells
My warts keep coming back | Cold sore on my lip, gone in a week | Chapped lips that crack in winter
He was excluded from school because of impetigo | Mosquito bite got bigger and itchy | my legs are red after waxing
I have a red patch on my arm that itches | The doctor has excluded cancer and infection
Biopsy ruled out skin cancer, showing only a wart | My mole is not bleeding, itching, or getting bigger
my sunburnt shoulders are peeling off | ringworm that gets larger slowly | my husband's room temperature is always high
"""


def _unpacked() -> Sentences:
    found: list[tuple[str, tuple[str, ...]]] = []
    expected: tuple[str, ...] = ()
    for line in _RAISING.strip().splitlines():
        if line.endswith(":"):
            expected = tuple(line.removesuffix(":").split())
        else:
            found += [(text, expected) for text in line.split(" | ")]
    return (*found, *((text, ()) for line in _HARMLESS.strip().splitlines() for text in line.split(" | ")))


# A user's text and the ids that it must raise; () for none.
OF_USERS: Sentences = (
    ("I scratched my leg and the pain is out of proportion", ("infection-with-extreme-pain",)),
    ("The skin around the cut is turning black and I have a high temperature", ("infection-with-extreme-pain",)),
    ("My son has purple spots on his legs and a fever", ("purple-rash-with-fever",)),
    ("The rash does not fade when I press a glass on it", ("purple-rash-with-fever",)),
    ("I have blisters on my chest and sores in my mouth", ("blisters-with-mouth-sores",)),
    ("Since I started the new medicine my skin is peeling. I also have a fever.", ("blisters-with-mouth-sores",)),
    ("Hives since I started taking amoxicillin", ("rash-after-medicine",)),
    ("Shingles on my forehead, near my eye", ("herpes-near-the-eye",)),
    ("cold sore close to the eye", ("herpes-near-the-eye",)),
    ("Her eczema suddenly has punched-out sores", ("eczema-with-blisters",)),
    ("My skin is red from head to toe and peels", ("red-all-over",)),
    ("My 6 week old baby has a rash and a fever", ("baby-with-fever",)),
    ("I am on chemotherapy and the wound is infected", ("weak-immune-system",)),
    ("A dog bit me yesterday", ("animal-or-human-bite",)),
    ("bitten by a snake an hour ago", ("snake-or-scorpion",)),
    ("I removed a tick and now there is a red ring around it", ("ring-after-tick-bite",)),
    ("This lump has doubled in size, it is growing fast", ("fast-growing-lump",)),
    ("There is a dark line under my thumbnail", ("dark-line-in-nail",)),
    ("My doctor said that it is melanoma. What now?", ("cancer-named",)),
    ("I have cellulitis", ("disease-today",)),
    (
        "excruciating pain in my arm, the red skin is spreading by the hour and I'm feverish",
        ("infection-with-extreme-pain", "spreading-redness-with-fever"),
    ),
    (
        "My daughter has tiny red pinpricks on her belly, she is drowsy and has a high temperature",
        ("purple-rash-with-fever",),
    ),
    ("The glass test: spots don't disappear under the glass", ("purple-rash-with-fever",)),
    ("Mouth ulcers and blistering rash after lamotrigine", ("blisters-with-mouth-sores",)),
    ("My skin comes off when I rub it and my lips are raw", ("blisters-with-mouth-sores",)),
    ("Rash with a fever three days after starting a new antibiotic", ("rash-after-medicine",)),
    ("painful blisters around my left eye", ("herpes-near-the-eye",)),
    (
        "he has atopic dermatitis and now clusters of painful blisters on his face, he is feverish",
        ("eczema-with-blisters",),
    ),
    ("my whole body is red and scaly", ("red-all-over",)),
    ("newborn with spots, temp of 38.2", ("baby-with-fever",)),
    ("I had a kidney transplant and now I got shingles", ("weak-immune-system",)),
    ("stray cat scratched and bit my hand", ("animal-or-human-bite",)),
    ("Bull's-eye rash on my thigh after hiking", ("ring-after-tick-bite",)),
    ("black line in my toenail getting wider", ("dark-line-in-nail",)),
    ("bump grew rapidly over two weeks", ("fast-growing-lump",)),
    ("I was diagnosed with basal cell carcinoma last year", ("cancer-named",)),
    ("cellulitis came back, I feel shivery", ("disease-today",)),
    (
        "leg is swollen and red, worst pain of my life, I am burning with fever",
        ("infection-with-extreme-pain", "spreading-redness-with-fever"),
    ),
    ("wound looks black and smells, necrotic", ("infection-with-extreme-pain",)),
    ("toddler, fever, petechiae on legs", ("purple-rash-with-fever",)),
    ("non-blanching rash!!", ("purple-rash-with-fever",)),
    ("my skin is blistering and my mouth is full of ulcers", ("blisters-with-mouth-sores",)),
    ("I take lamotrigine. Now I have a rash and fever.", ("rash-after-medicine",)),
    ("zoster on the forehead and tip of the nose", ("herpes-near-the-eye",)),
    ("skin red everywhere, head to toe, and I'm cold and shivering", ("red-all-over",)),
    ("our infant is hot, 39.1 °C temperature, with a rash", ("baby-with-fever",)),
    ("I'm immunocompromised and have a boil", ("weak-immune-system",)),
    ("a monkey bit my daughter in Bali", ("animal-or-human-bite",)),
    ("tick bite last week, now a spreading rash", ("ring-after-tick-bite",)),
    ("brown band running the length of my thumb nail", ("dark-line-in-nail",)),
    ("lump under skin gets bigger every week", ("fast-growing-lump",)),
    ("biopsy confirmed squamous cell carcinoma", ("cancer-named",)),
    ("Dr Google says melanoma", ("cancer-named",)),
    *_unpacked(),
)

# A model's answer and the ids that it must raise.
OF_ANSWERS: Sentences = (
    ("This could be a skin disease image of melanoma.", ("cancer-named",)),
    ("The differential diagnoses are squamous cell carcinoma and actinic keratosis.", ("cancer-named",)),
    ("A biopsy should be taken to rule out basal cell carcinoma.", ("cancer-named",)),
    ("Melanoma cannot be excluded.", ("cancer-named",)),
    ("These findings are consistent with necrotizing fasciitis.", ("disease-emergency",)),
    ("This could be Stevens-Johnson syndrome.", ("disease-emergency",)),
    ("This could be a skin disease image of pemphigus vulgaris.", ("disease-today",)),
    ("The picture shows a pigmented lesion with irregular borders and several colours.", ("changing-mole",)),
    ("There is a bleeding, ulcerated nodule.", ("bleeding-or-not-healing",)),
    ("Blisters cover the trunk, and the oral mucosa is eroded.", ("blisters-with-mouth-sores",)),
    ("This is not melanoma.", ()),
    ("There are no signs of melanoma or squamous cell carcinoma.", ()),
    ("There is no evidence that this is a melanoma.", ()),
    ("Melanoma is unlikely.", ()),
    ("Unlike melanoma, a seborrheic keratosis looks stuck on.", ()),
    ("The lesion is benign and non-malignant.", ()),
    ("If it bleeds or changes, see a doctor.", ()),
    ("Scratching can cause bleeding and infection.", ()),
    ("Moles may grow or change colour over the years.", ()),
    ("Watch for bleeding and for a mole that grows.", ()),
    ("Treatments include methotrexate, ciclosporin and antibiotics; side effects are fever and blisters.", ()),
    ("Raised plaques with silvery scale on the elbows, and erythema around them.", ()),
    ("This could be a skin disease image of psoriasis.", ()),
    ("See a doctor if you have a fever or the redness is spreading.", ()),
    (
        "The image displays an asymmetric, darkly pigmented lesion with ragged edges, concerning for melanoma.",
        ("changing-mole", "cancer-named"),
    ),
    ("Possible causes include bullous pemphigoid or pemphigus.", ("disease-today", "disease-soon")),
    ("The absence of ulceration and bleeding makes skin cancer less likely.", ()),
    ("Basal cell carcinoma must be considered.", ("cancer-named",)),
    ("It is important to rule out skin cancer.", ("cancer-named",)),
    ("Malignancy has been ruled out.", ()),
    ("It doesn't appear to be cancerous.", ()),
    ("The lesion does not show features typical of malignancy such as asymmetry or bleeding.", ()),
    ("Patients with rosacea should avoid hot drinks. Bleeding is rare.", ()),
    (
        "Apply hydrocortisone cream twice a day; if the rash does not heal within two weeks, consult a dermatologist.",
        (),
    ),
    ("The patient has a fever and rapidly spreading erythema.", ("spreading-redness-with-fever",)),
    ("The skin disease is caused by an infection that can spread quickly.", ()),
    (
        "This is a skin disease image with following clinical concepts: Ulcer, Crust, Erythema",
        ("bleeding-or-not-healing",),
    ),
    ("This is a skin disease image with following clinical concepts: Macule, Brown(Hyperpigmentation), Pigmented", ()),
    ("The nodule is bleeding.", ("bleeding-or-not-healing",)),
    ("Acne is common in teenagers and is not dangerous.", ()),
    ("This could be a skin disease image of cellulitis.", ("disease-today",)),
    ("It may turn into squamous cell carcinoma if left untreated.", ("cancer-named",)),
    ("Non-healing ulcer on the lower leg", ("bleeding-or-not-healing",)),
    ("No blisters, mouth sores or fever are present.", ()),
    ("Based on the image, the likely diagnosis is lentigo maligna.", ("cancer-named",)),
    ("I cannot determine whether the lesion is malignant.", ("cancer-named",)),
    ("There is no blistering, but the lesion bleeds.", ("bleeding-or-not-healing",)),
    ("Herpes zoster typically causes fever and blisters in the mouth.", ()),
    ("Psoriasis is not an infection and is not cancer.", ()),
    ("A dermatologist may perform a biopsy to check for cancer.", ("cancer-named",)),
    ("Grouped vesicles are seen around the eye, suggestive of herpes zoster.", ("herpes-near-the-eye",)),
    ("Erythroderma with scaling of the entire body.", ("disease-today", "red-all-over")),
    ("The skin shows purpura.", ()),
    ("This lesion does not look like melanoma, which usually has irregular borders.", ()),
    ("Over time, untreated acne leads to scars.", ()),
    ("Seek medical advice immediately should it start bleeding.", ()),
    ("bullae with mouth erosions", ("blisters-with-mouth-sores",)),
)
