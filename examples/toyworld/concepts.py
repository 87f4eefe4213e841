"""The hand-written lexicon of the toy world: concepts with one word per language, and who does what where.

Columns of every table: English concept (its name is its English word) : German | Spanish | Russian | Hindi | Swahili
| Japanese. Words are real words of these languages; Japanese is written with spaces between words, and personal
names stay in Latin script everywhere, so that names and digits are anchors shared by all languages. The trade-off:
no plurals, one tense and third-person subjects only, which keeps a few thousand word forms for a tiny model to learn.

`lexicon.py` reads these tables; nothing else should.
"""

LANGUAGES = ("en", "de", "es", "ru", "hi", "sw", "ja")

# ISO 639-3 codes, as the LASER Tatoeba files use them.
ISO3 = {"en": "eng", "de": "deu", "es": "spa", "ru": "rus", "hi": "hin", "sw": "swh", "ja": "jpn"}

FEMALE_NAMES = ("Anna", "Maria", "Lena", "Amina", "Yuki", "Priya")
MALE_NAMES = ("Tom", "Ivan", "Omar", "Raj", "Juma", "Pablo")

# Hours are written in digits. 5 to 11 take the same Russian form of "hour".
HOURS = ("5", "6", "7", "8", "9", "10")

# German article = gender; Spanish article = gender; Russian and Hindi: m, f, n; Swahili: adjective concord
# m (classes 1, 3, 11), ji (5), ki (7), n (9).
NOUNS = """
soup: die Suppe | la sopa | суп m | सूप m | supu n | スープ
rice: der Reis | el arroz | рис m | चावल m | wali m | ご飯
bread: das Brot | el pan | хлеб m | रोटी f | mkate m | パン
tea: der Tee | el té | чай m | चाय f | chai n | お茶
coffee: der Kaffee | el café | кофе m | कॉफ़ी f | kahawa n | コーヒー
juice: der Saft | el zumo | сок m | जूस m | juisi n | ジュース
book: das Buch | el libro | книга f | किताब f | kitabu ki | 本
letter: der Brief | la carta | письмо n | पत्र m | barua n | 手紙
map: die Karte | el mapa | карта f | नक्शा m | ramani n | 地図
hat: der Hut | el sombrero | шляпа f | टोपी f | kofia n | 帽子
shirt: das Hemd | la camisa | рубашка f | कमीज f | shati ji | シャツ
dress: das Kleid | el vestido | платье n | पोशाक f | gauni ji | ドレス
apple: der Apfel | la manzana | яблоко n | सेब m | tufaa ji | りんご
banana: die Banane | el plátano | банан m | केला m | ndizi n | バナナ
orange: die Orange | la naranja | апельсин m | संतरा m | chungwa ji | オレンジ
flower: die Blume | la flor | цветок m | फूल m | ua ji | 花
tree: der Baum | el árbol | дерево n | पेड़ m | mti m | 木
rose: die Rose | la rosa | роза f | गुलाब m | waridi ji | バラ
boat: das Boot | el barco | лодка f | नाव f | boti n | 船
fish: der Fisch | el pescado | рыба f | मछली f | samaki n | 魚
medicine: die Medizin | la medicina | лекарство n | दवा f | dawa n | 薬
guitar: die Gitarre | la guitarra | гитара f | गिटार m | gitaa n | ギター
piano: das Klavier | el piano | пианино n | पियानो m | piano n | ピアノ
drum: die Trommel | el tambor | барабан m | ढोल m | ngoma n | 太鼓
violin: die Geige | el violín | скрипка f | वायलिन m | fidla n | バイオリン
car: das Auto | el coche | машина f | कार f | gari ji | 車
bus: der Bus | el autobús | автобус m | बस f | basi ji | バス
bicycle: das Fahrrad | la bicicleta | велосипед m | साइकिल f | baiskeli n | 自転車
potato: die Kartoffel | la patata | картофель m | आलू m | kiazi ki | じゃがいも
egg: das Ei | el huevo | яйцо n | अंडा m | yai ji | 卵
mushroom: der Pilz | la seta | гриб m | मशरूम m | uyoga m | きのこ
berry: die Beere | la baya | ягода f | बेरी f | beri n | ベリー
honey: der Honig | la miel | мёд m | शहद m | asali n | 蜂蜜
chair: der Stuhl | la silla | стул m | कुर्सी f | kiti ki | 椅子
table: der Tisch | la mesa | стол m | मेज़ f | meza n | 机
"""

ROLES = """
chef: der Koch | el cocinero | повар m | रसोइया m | mpishi m | 料理人
teacher: der Lehrer | el profesor | учитель m | शिक्षक m | mwalimu m | 先生
seller: der Verkäufer | el vendedor | продавец m | विक्रेता m | mchuuzi m | 店員
gardener: der Gärtner | el jardinero | садовник m | माली m | mtunzabustani m | 庭師
fisherman: der Fischer | el pescador | рыбак m | मछुआरा m | mvuvi m | 漁師
doctor: der Arzt | el médico | врач m | डॉक्टर m | daktari m | 医者
musician: der Musiker | el músico | музыкант m | संगीतकार m | mwanamuziki m | 音楽家
driver: der Fahrer | el conductor | водитель m | चालक m | dereva m | 運転手
farmer: der Bauer | el granjero | фермер m | किसान m | mkulima m | 農夫
hunter: der Jäger | el cazador | охотник m | शिकारी m | mwindaji m | 狩人
carpenter: der Tischler | el carpintero | плотник m | बढ़ई m | seremala m | 大工
man: der Mann | el hombre | мужчина m | आदमी m | mwanaume m | 男
woman: die Frau | la mujer | женщина f | औरत f | mwanamke m | 女
boy: der Junge | el niño | мальчик m | लड़का m | mvulana m | 男の子
girl: das Mädchen | la niña | девочка f | लड़की f | msichana m | 女の子
"""

ANIMALS = """
cow: die Kuh | la vaca | корова f | गाय f | ng'ombe m | 牛
horse: das Pferd | el caballo | лошадь f | घोड़ा m | farasi m | 馬
hen: das Huhn | la gallina | курица f | मुर्गी f | kuku m | 鶏
bear: der Bär | el oso | медведь m | भालू m | dubu m | 熊
wolf: der Wolf | el lobo | волк m | भेड़िया m | mbwamwitu m | 狼
fox: der Fuchs | el zorro | лиса f | लोमड़ी f | mbweha m | 狐
cat: die Katze | el gato | кошка f | बिल्ली f | paka m | 猫
dog: der Hund | el perro | собака f | कुत्ता m | mbwa m | 犬
"""

KINDS = """
food: das Essen | la comida | еда f | खाना m | chakula ki | 食べ物
drink: das Getränk | la bebida | напиток m | पेय m | kinywaji ki | 飲み物
fruit: das Obst | la fruta | фрукт m | फल m | tunda ji | 果物
clothing: die Kleidung | la ropa | одежда f | कपड़ा m | nguo n | 服
plant: die Pflanze | la planta | растение n | पौधा m | mmea m | 植物
vehicle: das Fahrzeug | el vehículo | транспорт m | वाहन m | chombo ki | 乗り物
instrument: das Instrument | el instrumento | инструмент m | वाद्य m | ala n | 楽器
furniture: das Möbelstück | el mueble | мебель f | फ़र्नीचर m | samani n | 家具
animal: das Tier | el animal | животное n | जानवर m | mnyama m | 動物
person: die Person | la persona | человек m | व्यक्ति m | mtu m | 人
"""

# Whole prepositional phrases; the noun is the last word (Hindi: the first). Japanese adds the particle itself.
PLACES = """
kitchen: in the kitchen | in der Küche | en la cocina | на кухне | रसोई में | jikoni | 台所
school: at the school | in der Schule | en la escuela | в школе | विद्यालय में | shuleni | 学校
market: at the market | auf dem Markt | en el mercado | на рынке | बाज़ार में | sokoni | 市場
garden: in the garden | im Garten | en el jardín | в саду | बगीचे में | bustanini | 庭
beach: on the beach | am Strand | en la playa | на пляже | समुद्रतट पर | ufukweni | 浜辺
hospital: in the hospital | im Krankenhaus | en el hospital | в больнице | अस्पताल में | hospitalini | 病院
theatre: in the theatre | im Theater | en el teatro | в театре | थिएटर में | ukumbini | 劇場
street: on the street | auf der Straße | en la calle | на улице | सड़क पर | barabarani | 通り
farm: on the farm | auf dem Bauernhof | en la granja | на ферме | खेत में | shambani | 農場
forest: in the forest | im Wald | en el bosque | в лесу | जंगल में | msituni | 森
workshop: in the workshop | in der Werkstatt | en el taller | в мастерской | कार्यशाला में | karakanani | 工房
"""

DAYS = """
Monday: on Monday | am Montag | el lunes | в понедельник | सोमवार को | Jumatatu | 月曜日
Tuesday: on Tuesday | am Dienstag | el martes | во вторник | मंगलवार को | Jumanne | 火曜日
Wednesday: on Wednesday | am Mittwoch | el miércoles | в среду | बुधवार को | Jumatano | 水曜日
Thursday: on Thursday | am Donnerstag | el jueves | в четверг | गुरुवार को | Alhamisi | 木曜日
Friday: on Friday | am Freitag | el viernes | в пятницу | शुक्रवार को | Ijumaa | 金曜日
Saturday: on Saturday | am Samstag | el sábado | в субботу | शनिवार को | Jumamosi | 土曜日
Sunday: on Sunday | am Sonntag | el domingo | в воскресенье | रविवार को | Jumapili | 日曜日
"""

# German stem; Spanish masculine feminine; Russian accusative m f n (inanimate); Hindi m f; Swahili m ji ki n; one form
# where nothing changes.
ADJECTIVES = """
red: rot | rojo roja | красный красную красное | लाल | mwekundu jekundu chekundu nyekundu | 赤い
blue: blau | azul | синий синюю синее | नीला नीली | bluu | 青い
green: grün | verde | зелёный зелёную зелёное | हरा हरी | kijani | 緑の
white: weiß | blanco blanca | белый белую белое | सफ़ेद | mweupe jeupe cheupe nyeupe | 白い
black: schwarz | negro negra | чёрный чёрную чёрное | काला काली | mweusi jeusi cheusi nyeusi | 黒い
yellow: gelb | amarillo amarilla | жёлтый жёлтую жёлтое | पीला पीली | njano | 黄色い
big: groß | grande | большой большую большое | बड़ा बड़ी | mkubwa kubwa kikubwa kubwa | 大きい
small: klein | pequeño pequeña | маленький маленькую маленькое | छोटा छोटी | mdogo dogo kidogo ndogo | 小さい
new: neu | nuevo nueva | новый новую новое | नया नई | mpya jipya kipya mpya | 新しい
old: alt | viejo vieja | старый старую старое | पुराना पुरानी | kuukuu | 古い
clean: sauber | limpio limpia | чистый чистую чистое | साफ़ | safi | きれいな
dirty: schmutzig | sucio sucia | грязный грязную грязное | गंदा गंदी | mchafu chafu kichafu chafu | 汚い
"""

# German: finite infinitive; Spanish the same; Russian the same; Hindi stem (last word inflects); Swahili stem
# (or finite, infinitive, negative written out); Japanese: plain, stem before たい, negative.
VERBS = """
cook: kocht kochen | cocina cocinar | готовит готовить | पका | pika | 料理する 料理し 料理しない
eat: isst essen | come comer | ест есть | खा | anakula kula hali | 食べる 食べ 食べない
drink_up: trinkt trinken | bebe beber | пьёт пить | पी | anakunywa kunywa hanywi | 飲む 飲み 飲まない
cut: schneidet schneiden | corta cortar | режет резать | काट | kata | 切る 切り 切らない
read: liest lesen | lee leer | читает читать | पढ़ | soma | 読む 読み 読まない
write: schreibt schreiben | escribe escribir | пишет писать | लिख | andika | 書く 書き 書かない
buy: kauft kaufen | compra comprar | покупает покупать | खरीद | nunua | 買う 買い 買わない
sell: verkauft verkaufen | vende vender | продаёт продавать | बेच | uza | 売る 売り 売らない
grow: pflanzt pflanzen | siembra sembrar | сажает сажать | उगा | otesha | 植える 植え 植えない
water: gießt gießen | riega regar | поливает поливать | सींच | mwagilia | 水やりする 水やりし 水やりしない
find: findet finden | encuentra encontrar | находит находить | ढूँढ | pata | 見つける 見つけ 見つけない
catch: fängt fangen | atrapa atrapar | ловит ловить | पकड़ | kamata | 捕る 捕り 捕らない
pull: zieht ziehen | arrastra arrastrar | тянет тянуть | खींच | vuta | 引く 引き 引かない
take: nimmt nehmen | toma tomar | берёт брать | ले | chukua | 取る 取り 取らない
hear: hört hören | escucha escuchar | слушает слушать | सुन | sikiliza | 聞く 聞き 聞かない
drive: fährt fahren | conduce conducir | водит водить | चला | endesha | 運転する 運転し 運転しない
collect: sammelt sammeln | recoge recoger | собирает собирать | बटोर | kusanya | 集める 集め 集めない
build: baut bauen | construye construir | строит строить | बना | jenga | 作る 作り 作らない
repair: repariert reparieren | repara reparar | чинит чинить | सुधार | tengeneza | 直す 直し 直さない
sleep: schläft schlafen | duerme dormir | спит спать | सो | lala | 眠る 眠り 眠らない
run: läuft laufen | corre correr | бегает бегать | दौड़ | kimbia | 走る 走り 走らない
swim: schwimmt schwimmen | nada nadar | плавает плавать | तैर | ogelea | 泳ぐ 泳ぎ 泳がない
sing: singt singen | canta cantar | поёт петь | गा | imba | 歌う 歌い 歌わない
dance: tanzt tanzen | baila bailar | танцует танцевать | नाच | cheza | 踊る 踊り 踊らない
wait: wartet warten | espera esperar | ждёт ждать | इंतज़ार कर | ngoja | 待つ 待ち 待たない
"""

# Whole predicates, masculine / feminine / negative m / negative f ("/" only where they differ; Russian, Hindi and
# Spanish negate with a word before). Swahili and Japanese: positive, negative.
STATES = """
hungry: hungrig | hambriento hambrienta | голоден голодна | भूखा भूखी | ana_njaa hana_njaa | 空腹だ 空腹ではない
thirsty: durstig | sediento sedienta | жаждет | प्यासा प्यासी | ana_kiu hana_kiu | 渇いている 渇いていない
tired: müde | cansado cansada | устал устала | थका थकी | amechoka hajachoka | 疲れている 疲れていない
sick: krank | enfermo enferma | болен больна | बीमार | anaumwa haumwi | 病気だ 病気ではない
happy: glücklich | feliz | счастлив счастлива | खुश | anafurahi hafurahi | 幸せだ 幸せではない
bored: gelangweilt | aburrido aburrida | скучает | ऊबा ऊबी | amechoshwa hajachoshwa | 退屈だ 退屈ではない
"""

# Topic = place: who works there, what is done there to what. Co-occurrence is what commonsense tasks ask for.
TOPICS: dict[str, dict] = {
    "kitchen": {
        "roles": ["chef"],
        "animals": [],
        "verbs": {
            "cook": ["soup", "rice"],
            "eat": ["soup", "rice", "bread"],
            "cut": ["bread"],
            "drink_up": ["tea", "coffee", "juice"],
        },
    },
    "school": {
        "roles": ["teacher"],
        "animals": [],
        "verbs": {"read": ["book", "letter", "map"], "write": ["book", "letter"]},
    },
    "market": {
        "roles": ["seller"],
        "animals": [],
        "verbs": {
            "buy": ["hat", "shirt", "dress", "apple", "banana", "orange"],
            "sell": ["hat", "shirt", "dress", "apple", "banana", "orange"],
        },
    },
    "garden": {
        "roles": ["gardener"],
        "animals": ["dog", "cat"],
        "verbs": {"grow": ["flower", "tree", "rose"], "water": ["flower", "tree", "rose"]},
    },
    "beach": {"roles": ["fisherman"], "animals": [], "verbs": {"catch": ["fish"], "pull": ["boat"], "swim": []}},
    "hospital": {"roles": ["doctor"], "animals": [], "verbs": {"take": ["medicine"], "wait": []}},
    "theatre": {
        "roles": ["musician"],
        "animals": [],
        "verbs": {"hear": ["guitar", "piano", "drum", "violin"], "sing": [], "dance": []},
    },
    "street": {"roles": ["driver"], "animals": [], "verbs": {"drive": ["car", "bus", "bicycle"]}},
    "farm": {"roles": ["farmer"], "animals": ["cow", "horse", "hen"], "verbs": {"collect": ["potato", "egg"]}},
    "forest": {
        "roles": ["hunter"],
        "animals": ["bear", "wolf", "fox"],
        "verbs": {"find": ["mushroom", "berry", "honey"]},
    },
    "workshop": {
        "roles": ["carpenter"],
        "animals": [],
        "verbs": {"build": ["chair", "table"], "repair": ["chair", "table"]},
    },
}

HYPERNYMS = {
    "food": ["soup", "rice", "bread"],
    "drink": ["tea", "coffee", "juice"],
    "fruit": ["apple", "banana", "orange"],
    "clothing": ["hat", "shirt", "dress"],
    "plant": ["flower", "tree", "rose"],
    "vehicle": ["car", "bus", "bicycle", "boat"],
    "instrument": ["guitar", "piano", "drum", "violin"],
    "furniture": ["chair", "table"],
}

# Values of one group exclude each other.
ADJECTIVE_GROUPS = (
    ("red", "blue", "green", "white", "black", "yellow"),
    ("big", "small"),
    ("new", "old"),
    ("clean", "dirty"),
)

# What somebody in this state wants to do: verb and possible objects.
DESIRES = {
    "hungry": ("eat", ["soup", "rice", "bread"]),
    "thirsty": ("drink_up", ["tea", "coffee", "juice"]),
    "tired": ("sleep", []),
    "sick": ("take", ["medicine"]),
    "happy": ("dance", []),
    "bored": ("read", ["book"]),
}

# English words whose concept name is not the word, and English synonyms (for paraphrases).
ENGLISH = {"drink_up": "drink"}
SYNONYMS = {
    "big": "large",
    "small": "little",
    "buy": "purchase",
    "repair": "fix",
    "collect": "gather",
    "car": "automobile",
    "bicycle": "bike",
    "chair": "seat",
    "hospital": "clinic",
    "street": "road",
    "forest": "woods",
    "doctor": "physician",
    "cut": "slice",
    "sick": "ill",
    "happy": "glad",
    "boat": "ship",
    "grow": "raise",
    "find": "discover",
}
