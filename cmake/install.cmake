# What `cmake --install` and `./run install` put in place: program, engine library, headers, model.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS fovea EXPORT foveaTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
# The engine's headers; the others declare what only the program holds.
foreach(header attend cache error half highlights isa merge threads view)
  install(FILES ${PROJECT_SOURCE_DIR}/include/fovea/${header}.h
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fovea)
endforeach()
install(EXPORT foveaTargets NAMESPACE fovea:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fovea)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/foveaConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/foveaConfig.cmake
     "include(CMakeFindDependencyMacro)\nfind_dependency(Threads)\n"
     "include(\"\${CMAKE_CURRENT_LIST_DIR}/foveaTargets.cmake\")\n")
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/foveaConfig.cmake
        ${CMAKE_CURRENT_BINARY_DIR}/foveaConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fovea)
if(FOVEA_ENGINE_ONLY)
  return()
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/fovea DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS fovea_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/fovea/models)
