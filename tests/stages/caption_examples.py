"""Answers as vision-language models give them, written by hand: good and bad ones, of clips and of objects."""

from __future__ import annotations

GOOD_CLIPS = (
    "A lone cyclist pedals up a winding mountain road between pine trees, his orange jersey bright against the grey "
    "asphalt. He rises from the saddle in the steep bend and sits down again as the road levels. Morning light falls "
    "from the left, and the camera follows him from a moving car at a constant distance.",
    "The video opens with a close view of a ceramic bowl in which a wooden spoon stirs thick orange soup. Steam rises "
    "and drifts to the right. A woman's hand with a silver ring sprinkles chopped parsley over it, then the camera "
    "tilts up to a kitchen window where rain runs down the glass.",
    "Sure-footed ibexes pick their way down a nearly vertical dam wall. The youngest stays close behind its mother, "
    "stopping twice to lick salt off the stones. The wall is pale and dry, the sky above it cloudless, and the camera "
    "pans slowly downward with the animals.",
    "Here is a wide valley at dawn. Mist lies between dark hills, and a river bends through the meadows from the left "
    "to the right edge. The first sunlight reaches a red barn in the middle, while the camera rises until the snowy "
    "peaks behind the hills come into view.",
    "A protester in a yellow raincoat holds a cardboard sign that reads \"I can't breathe, I won't be silent\" in "
    "black letters. Behind her a crowd moves slowly from right to left along a wide avenue. It rains, and the wet "
    "pavement mirrors the street lamps as the camera stays at the height of her shoulders.",
    "A man in a grey suit stands at a whiteboard and tries to draw a circle; he is unable to describe the full curve "
    "before his marker runs dry, shakes it, and laughs. Two colleagues at a table in the foreground turn their heads "
    "to him. The office is bright, with a glass wall on the right.",
    "Of course horses run in this meadow too, six of them, brown and black, from the far fence towards the viewer. "
    "Their manes fly and dust rises behind their hooves. A rider in a straw hat waits at the gate on the left, and the "
    "camera stays still until they have passed.",
    "Two toddlers in striped pyjamas sit on a rug and build a tower of coloured blocks. The taller one adds a blue "
    "block, the tower sways and falls to the left, and both throw up their arms. Warm light comes from a floor lamp, "
    "and a grey cat sleeps on the sofa behind them.",
    "An aerial shot glides over a turquoise lagoon with white sandbanks. A small motorboat draws a line of foam from "
    "the lower left to the centre, turns in a wide arc and stops beside a wooden pier. Palm trees cover the shore, and "
    "their shadows lie short beneath them under the noon sun.",
    "A hand places a smartphone on a wooden desk beside a notebook and a cup of coffee. The screen lights up with the "
    "user's calendar, and a finger scrolls through it from bottom to top. The background is blurred, soft daylight "
    "comes from a window on the left, and the camera does not move.",
    "In a dimly lit workshop a welder in a dark mask joins two steel pipes. Sparks fly to the right and die on the "
    "concrete floor, blue light flickers over the walls, and smoke climbs to the ceiling. He lifts the mask at the "
    "end and wipes his forehead with his sleeve.",
    "The scene shows a crowded night market with rows of stalls under red lanterns. Vendors turn skewers over glowing "
    "coals while shoppers squeeze past with umbrellas. A sign with the characters 夜市 hangs over the lane. The camera "
    "walks forward at eye level and the crowd parts before it.",
    "There are no people in the street at first; only a newspaper tumbles along the gutter from right to left. Then a "
    "white van turns the corner, stops before a shuttered shop, and a driver in blue overalls gets out. The morning "
    "is foggy, the houses are of brown brick, and the view is fixed.",
    "A black-and-white clip of a jazz trio on a small stage: the pianist bends over the keys, the bassist nods with "
    "closed eyes, and the drummer brushes the snare. A spotlight from above leaves the audience in the dark. The "
    "camera circles slowly clockwise around the piano.",
    "An elderly couple walks arm in arm along a leafy path in autumn. He leans on a cane, she carries a bag of "
    "chestnuts, and yellow leaves drift down around them. They stop, look up into the tree, and walk on while the "
    "camera backs away before them at the same pace.",
    "Please-take-one flyers flutter on a notice board beside a subway entrance while commuters hurry down the stairs. "
    "A busker in a green coat plays the violin to the right of it, her case open on the floor. The light is cold and "
    "artificial, and the view shakes slightly, as if held by hand.",
    "A golden retriever leaps off a wooden dock into a lake, all four legs stretched out. The splash rises to twice "
    "its height, then the dog surfaces with a yellow ball in its mouth and swims back to the dock. Slow motion shows "
    "every drop, and trees on the far shore are out of focus.",
    "A red-haired woman in a green dress spins in a field of lavender. As she turns, the hem lifts and her hair covers "
    "her face, which cannot be seen for a moment. The sun stands low behind her, so that her outline glows, and the "
    "camera moves around her in the opposite direction.",
    "The image quality is grainy, like that of an old film: a steam train pulls into a village station from the left, "
    "its smoke hiding the roofs. Passengers with hats and suitcases step back from the edge, then crowd the doors. The "
    "picture flickers and the colours are faded to brown.",
    "The clip shows a chef in a white jacket who slices carrots on a board, quick and even. A pan hisses behind him; "
    "he sweeps the slices into it with the back of the knife. Copper pots hang above, and the camera pans left to a "
    "second cook who plates fish.",
    "Snow falls over an empty playground at dusk. A swing moves back and forth by itself, a lamp goes on at the right, "
    "and a fox trots from the slide to the hedge, stopping once to look around. Nothing else moves. The light turns "
    "from grey to blue, and the camera slowly zooms in on the swing.",
    "A first-person view from a mountain bike: handlebars with black grips shake as the trail drops between roots and "
    "ferns. The rider brakes before a wooden bridge, crosses it, and speeds up again. Sunlight flickers through the "
    "trees, and a second biker in a red helmet stays ahead all the time.",
    "Time-lapse of a city skyline from afternoon to night. Clouds race from left to right, shadows climb the towers, "
    "and one window after another lights up. In the last frame the moon stands above the tallest building. Cars draw "
    "red and white lines along the river road below.",
    "A computer screen fills the view and shows lines of code with the tag <div> highlighted in blue. A cursor jumps "
    "to the next line and types a word, letter by letter. The reflection of a window moves slightly on the glass, and "
    "a hand reaches in from the right to point at the line.",
    "A street dancer in a white T-shirt with the words ‘Sorry, not sorry’ freezes on one hand, legs in the air, before "
    "a ring of clapping spectators. He drops, spins on his back, and jumps up with a grin. Graffiti covers the wall "
    "behind, and the low camera tilts up with him.",
    "In a garden, a little girl in a pink hat kneels beside a bed of tulips and pours water from a tin can that is "
    "nearly as large as she is. A bee lands on the nearest flower; she leans back, watches it, and laughs. The lawn "
    "behind is out of focus, with a swing hanging from an apple tree.",
    "Great crested grebes glide across a still pond, face each other, and shake their heads in turn. Both dive, come "
    "up with weeds in their beaks, and rise breast to breast. Reeds frame the view on either side, the water mirrors "
    "an overcast sky, and the camera follows them with a slow pan to the right.",
    "Molten glass glows orange at the end of a long pipe as the glassblower turns it over a bench. An assistant in "
    "leather gloves opens the furnace door; heat shimmers in the air. The bulb grows, is swung once like a pendulum, "
    "and returns to the bench, where a wet paper smooths its side.",
    "Ein-Mann-Show reads the poster on the theatre door, in gold on black. A tall usher opens the door from inside, "
    "and people in evening dress stream out into the rain, opening umbrellas. Taxis wait in line at the kerb with "
    "their lights on, and the camera stands across the street.",
    "Protesters march against the new policy of the city, holding banners and blowing whistles. It is impossible to "
    "tell where the crowd ends: heads and flags fill the avenue up to the bridge. A drummer in a red scarf leads them, "
    "and a worker in an orange vest follows safety guidelines by waving a lamp at the crossing.",
    "A basketball player in a blue jersey dribbles past two defenders, takes off from the free-throw line and dunks "
    "with one hand. The crowd behind the basket jumps to its feet. The scoreboard reads 98:97, the court is glossy, "
    "and the camera swings from the half line to a view from under the net.",
)
"""What a user wants to keep about a clip."""

GOOD_OBJECTS = (
    ("a cyclist in a yellow jersey who pedals uphill, leaning over the handlebars", "person"),
    ("a skier in a red suit carving downhill with bent knees", "person"),
    ("a surfer in a black wetsuit riding the crest of a wave", "person"),
    ("a chef with a tall white hat, stirring a copper pot", "person"),
    ("a bride in a long white gown with a lace veil, walking slowly to the right", "person"),
    ("an elderly couple holding hands, both in beige coats", "person"),
    ("a goalkeeper in a green kit diving to the left with outstretched arms", "person"),
    ("a barista with a beard and a denim apron pouring milk into a cup", "person"),
    ("a red-haired toddler in dungarees, crawling across the floor", "person"),
    ("a bald figure with a long cloak standing with crossed arms", "person"),
    ("a paddler in an orange life jacket, her arms pulling the paddle in a steady rhythm", "person"),
    ("a uniformed soldier marching forward with a rifle on the shoulder", "man"),
    ("a groom in a black tuxedo adjusting his bow tie", "man"),
    ("a ballerina in a pale tutu balancing on one foot", "woman"),
    ("a teenage boy in a red hoodie riding a skateboard to the right", "young man"),
    ("a crowd of spectators waving flags in the stands", "people"),
    ("two grey mice running along the skirting board", "mouse"),
    ("two wolves trotting through deep snow side by side", "wolf"),
    ("a pair of kitchen knives with black handles lying on a board", "knife"),
    ("a flock of geese flying in a line from left to right", "goose"),
    ("two brown calves standing close together in the straw", "calf"),
    ("several silk scarves with floral patterns fluttering on a rack", "scarf"),
    ("two snowmen with carrot noses and striped scarves", "snowman"),
    ("yellow maple leaves tumbling slowly to the ground", "leaf"),
    ("a child's bare feet kicking up sand", "foot"),
    ("three wooden shelves filled with old books", "shelf"),
    ("a silver sedan parked by the kerb with its lights on", "car"),
    ("a black SUV with chrome rims turning left", "car"),
    ("a yellow taxi with a roof sign, driving towards the viewer", "car"),
    ("a vintage red convertible with white tyres, rolling slowly forward", "car"),
    ("a dark blue vehicle with tinted windows speeding to the right", "car"),
    ("a golden retriever puppy with a blue collar rolling on its back", "dog"),
    ("a small white poodle with a pink bow, trotting to the left", "dog"),
    ("an orange tabby kitten licking its front paw", "cat"),
    ("a white dove pecking at crumbs on the pavement", "bird"),
    ("a bald eagle with spread wings gliding over the water", "bird"),
    ("a brown hen scratching the ground with one foot", "chicken"),
    ("a tan leather couch with two round cushions", "sofa"),
    ("a silver airplane with red wing tips taxiing to the right", "aeroplane"),
    ("a white passenger jet with blue stripes, climbing steeply", "airplane"),
    ("a flat-screen TV showing a football match", "television set"),
    ("a smartphone in a black case held upright in one hand", "cell phone"),
    ("a black cellphone with a cracked screen lying face up", "cellular telephone"),
    ("a motorbike with a red tank leaning into the bend", "motorcycle"),
    ("a rusty blue bike with a wicker basket on the handlebars", "bicycle"),
    ("a fishing vessel with a white hull, rocking gently on the waves", "boat"),
    ("a chestnut mare with a braided mane galloping to the left", "horse"),
    ("a black and white cow grazing with its head lowered", "cattle"),
    ("a porcelain mug with a blue rim, steam rising from it", "cup"),
    ("a red pickup with a dented door, bouncing over the dirt road", "truck"),
    ("a double-decker coach with tinted windows pulling away from the stop", "bus"),
    ("a pair of faded blue jeans with a torn knee", "trousers"),
    ("a brown leather handbag with a gold clasp swinging from an arm", "bag"),
    ("a wide straw sunhat with a black ribbon", "hat"),
    ("a white football with black spots rolling to the left", "ball"),
    ("a glossy chocolate donut with coloured sprinkles", "doughnut"),
    ("a tall stainless steel fridge with magnets on its door", "refrigerator"),
    ("a scoop of strawberry ice cream melting in a waffle cone", "icecream"),
    ("a plain white tee with a small print on the chest", "t-shirt"),
    ("a brown mug with the red outline of a heart on its side", "mug"),
    ("a spotted fawn standing on thin legs, ears turned forward", "animal"),
    ("a yellow excavator lowering its shovel into the gravel", "vehicle"),
    ("a carved wooden rocking horse with a red saddle, tipping back and forth", "toy"),
    ("a round glass bottle with a cork, tilted over a cup", "object"),
    ("a man whose face is not visible, in a grey coat with the collar turned up", "man"),
    ("a white horse pulling a carriage, its head nodding with every step", "horse carriage"),
    ("a red car with a dented bonnet turning left", "red car"),
    ("a person in a mascot costume of a bear, waving both hands", "person"),
    ("a green tram with a white roof gliding along the rails", "train"),
    ("a woman's hand with red nails holding a pen", "hand"),
)
"""What a user wants to keep about an object, with its label."""

BAD_CLIPS = (
    "I apologize, but I am not able to view or analyse images directly. If you tell me what happens in the clip, I "
    "will gladly write a paragraph of the length that was asked for.",
    "I don't see any video frames attached to this conversation. Could you upload them again so that a description of "
    "the clip can be written in the style that was asked for?",
    "Sorry, but this content may violate our usage policies. Try again with other pictures, and make sure that they "
    "follow the guidelines of the service before they are sent once more.",
    "As a language model, there is no way to look at the frames that were sent. A text about the clip would be enough "
    "to write a paragraph of the desired length about the scene and its main subject.",
    "Unfortunately, the frames are too dark to make out any detail. Brighter pictures of the scene would be needed "
    "before its main subject and the movement in it could be described properly.",
    "Absolutely! A man in a blue jacket walks along a snowy road with a small dog beside him, while a car with bright "
    "headlights passes from right to left and the camera stays still in the falling snow.",
    "Caption: A man in a blue jacket walks along a snowy road with a small dog beside him, while a car with bright "
    "headlights passes from right to left and the camera stays still in the falling snow.",
    "I’m not comfortable describing the people in this clip. There may be some other way to help with the content of "
    "the video, for example by talking about the scenery or the weather in it.",
    "Based on the provided frames, a man walks along a road. In frame 1 he is at the left edge, and in frame 8 he has "
    "reached the right edge, with the sun behind him and a dog at his side.",
    "Here's a detailed description of the video clip: a man in a blue jacket walks along a snowy road with a small dog "
    "beside him, while a car with bright headlights passes from right to left.",
    "Got it, let's break this down. The main subject is a man in a blue jacket who walks along a snowy road with a "
    "small dog, so the paragraph should begin with him and then say what the camera does.",
    "The user wants a caption of 70 to 120 words. A man in a blue jacket walks along a snowy road with a small dog "
    "beside him, and a car passes from right to left while the camera stays still.",
    "A man in a blue jacket walks along a snowy road with a small dog beside him, while a car passes from right to "
    "left. The camera stays still. Let me know if a longer or a shorter version is needed.",
    "A man in a blue jacket walks along a snowy road with a small dog beside him, while a car passes from right to "
    "left and the camera stays still in the falling snow. (Word count: 41)",
    '{"caption": "A man in a blue jacket walks along a snowy road with a small dog beside him, while a car with bright '
    'headlights passes from right to left and the camera stays still."}',
    "<think>The subject should come first.</think> A man in a blue jacket walks along a snowy road with a small dog "
    "beside him, while a car with bright headlights passes from right to left.",
    "It is not possible to determine what happens in this clip, as all of the pictures seem to be completely black. "
    "There is no visible content in any of them from the first to the last.",
    "This request can't be fulfilled because the images show a real person. Descriptions that could identify somebody "
    "are not given, but general remarks about the scenery are possible.",
    "My apologies, the pictures did not come through. Once they are uploaded, a description in one paragraph of plain "
    "present-tense English will follow, with the main subject first and the camera last.",
    "No problem! The clip follows a man in a blue jacket along a snowy road, with a small dog beside him. A car with "
    "bright headlights passes from right to left, and the camera stays still in the falling snow.",
    "Ein Mann in einer blauen Jacke läuft eine verschneite Straße entlang, während ein kleiner Hund neben ihm springt. "
    "Ein Auto fährt von rechts nach links vorbei, und die Kamera bewegt sich nicht.",
    "Un hombre con una chaqueta azul camina por una carretera nevada con un perro pequeño a su lado, mientras un coche "
    "pasa de derecha a izquierda y la cámara permanece quieta bajo la nieve.",
    "Un homme en veste bleue marche le long d'une route enneigée avec un petit chien à ses côtés, tandis qu'une auto "
    "passe de droite à gauche et que la caméra reste immobile sous la neige.",
    "Um homem de jaqueta azul caminha por uma estrada coberta de neve com um cachorro pequeno ao lado, enquanto um "
    "carro passa da direita para a esquerda e a câmera permanece parada.",
    "Een man in een blauwe jas loopt over een besneeuwde weg met een kleine hond naast zich, terwijl een auto van "
    "rechts naar links voorbijrijdt en de camera stil blijft staan in de vallende sneeuw.",
    "I’m unable to identify or describe people in pictures. The setting, however, is a room with a table.",
    "It seems that the images you've sent are blank. Resend them, and a description in one paragraph will follow.",
    "The images provided do not contain enough information to describe the motion of the clip or its main subject.",
    "Certainly! Here is the paragraph: A woman in a red coat walks her dog through a park while leaves fall around.",
    "To describe the clip: a woman in a red coat walks her dog through a park while leaves fall around them both.",
    "Thinking about what changes from the first frame to the last, the woman moves from left to right in the park.",
    "In the first image, a woman stands by a tree. In the second image, she walks to the right, and then she is gone.",
    "Frame 1: a woman stands by a tree. Frame 2: she walks to the right. Frame 3: she is gone from the picture.",
    "A woman in a red coat walks her dog through a park. I hope this description meets your needs for the dataset.",
    "A woman in a red coat walks her dog through a park. Would you like a shorter version of this text as well?",
    "This content goes against the policy of the service, and therefore no description of it is going to be given.",
    "Content warning: the clip could not be processed due to safety restrictions, try another of the clips instead.",
    "The video appears to be corrupted or empty, as none of the frames show any recognizable scene or subject at all.",
    "assistant: A woman in a red coat walks her dog through a park while leaves fall around them and a child waves.",
    "**Main subject:** a woman in a red coat. **Action:** walks her dog through a park while leaves fall around them.",
    "这段视频展示了一位穿着红色外套的女士在公园里遛狗，树叶在她们周围飘落，镜头缓缓跟随。",
    "Um dia frio, uma estrada, um homem e o seu cão. Sorry, the rest of the text is missing here, and "
    "o vídeo mostra ainda um carro que passa devagar da direita para a esquerda sob a neve.",
)
"""What no user wants to train on, about a clip."""

BAD_OBJECTS = (
    ("I do not see a dog in these images", "dog"),
    ("I'm unable to make out the dog in this picture", "dog"),
    ("There is no dog in the outlined area", "dog"),
    ("The outlined region contains only black, no person is visible", "person"),
    ("a brown dog with a red outline around it, shown on black", "dog"),
    ("The dog is not visible in any of the pictures", "dog"),
    ("There doesn't appear to be a car here, only a dark patch of road", "car"),
    ("The object appears to be completely black and has no visible features of a cup", "cup"),
    ("Sure, here's the sentence: a brown dog with a red collar runs to the left", "dog"),
    ("Description: a brown dog with a red collar runs to the left", "dog"),
    ("The outlined object is a brown dog with a red collar that runs to the left", "dog"),
    ("Sorry, I can't help with describing this person", "person"),
    ("As an AI, I see a woman in a blue coat who walks to the left", "person"),
    ("a grey cat with green eyes sitting on a wall", "dog"),
    ("a red bus that turns left at the corner", "car"),
    ("a wooden table with four legs and a white cloth", "person"),
    ("a brown dog with a red collar running along the beach", "person"),
    ("a ripe pineapple lying on a plate", "apple"),
    ("a seahorse drifting upright between the weeds", "horse"),
    ("a long scar that runs down the arm", "car"),
    ("a woven carpet with red and blue flowers", "pet"),
    ("a screwdriver with a red handle that turns", "driver"),
    ("un perro marrón con un collar rojo que corre por la playa hacia la izquierda", "dog"),
    ("ein brauner Hund mit einem roten Halsband, der nach links über den Strand läuft", "dog"),
    ("No dog can be seen in the outlined part of the frames", "dog"),
    ("The image shows a black background with no dog", "dog"),
    ("The masked object is a person in a red coat, isolated against a black background.", "person"),
    ("It is unclear what the object is, possibly a cup", "cup"),
    ("This appears to be a dog, though the image is too dark to tell", "dog"),
    ("a white swan gliding over the pond", "dog"),
    ("a tree trunk with rough bark", "elephant"),
    ("a wooden chair with a red cushion", "cat"),
    ("dog dog dog dog dog dog dog dog dog dog dog dog", "dog"),
)
"""What no user wants to train on, about an object with a label."""
