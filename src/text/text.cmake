# What the text room stands on: SentencePiece (the models' own pieces), ICU (case, widths, properties of
# characters) and nlohmann-json (vocab.json).
#
# Found by name: Ubuntu's sentencepiece.pc asks for protobuf's, which a user of the library has no use for.
find_path(FOVEA_SENTENCEPIECE_INCLUDE_DIR sentencepiece_processor.h)
find_library(FOVEA_SENTENCEPIECE_LIBRARY sentencepiece)
if(NOT FOVEA_SENTENCEPIECE_INCLUDE_DIR OR NOT FOVEA_SENTENCEPIECE_LIBRARY)
  message(FATAL_ERROR "SentencePiece is missing: install libsentencepiece-dev")
endif()
include_directories(SYSTEM ${FOVEA_SENTENCEPIECE_INCLUDE_DIR})
find_package(ICU REQUIRED COMPONENTS uc)
find_package(nlohmann_json 3.7 REQUIRED)
set(FOVEA_TEXT_LIBRARIES ${FOVEA_SENTENCEPIECE_LIBRARY} ICU::uc nlohmann_json::nlohmann_json)
