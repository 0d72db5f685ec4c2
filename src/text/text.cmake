# What the text room stands on: SentencePiece (the models' own pieces), ICU (case, widths, properties of
# characters) and nlohmann-json (vocab.json).
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)
find_package(ICU REQUIRED COMPONENTS uc)
find_package(nlohmann_json 3.7 REQUIRED)
set(FOVEA_TEXT_LIBRARIES PkgConfig::SENTENCEPIECE ICU::uc nlohmann_json::nlohmann_json)
