# What `cmake --install` puts in place. The component `engine`: library, its headers, and how CMake and
# pkg-config find them. Else: program, the other headers, model. `./run install` installs the library
# twice, static and shared (BUILD_SHARED_LIBS); the two lie side by side.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(fovea_cmake_folder ${CMAKE_INSTALL_LIBDIR}/cmake/fovea)
get_target_property(fovea_type fovea TYPE)
if(fovea_type STREQUAL SHARED_LIBRARY)
  set(fovea_targets foveaSharedTargets)
else()
  set(fovea_targets foveaStaticTargets)
endif()

install(TARGETS fovea EXPORT ${fovea_targets} COMPONENT engine
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
# The engine's headers; the others declare what only the program holds.
foreach(header attend backward cache error half highlights isa merge threads view)
  install(FILES ${PROJECT_SOURCE_DIR}/include/fovea/${header}.h COMPONENT engine
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fovea)
endforeach()

install(EXPORT ${fovea_targets} NAMESPACE fovea:: COMPONENT engine DESTINATION ${fovea_cmake_folder})
configure_file(${PROJECT_SOURCE_DIR}/cmake/foveaConfig.cmake.in
               ${CMAKE_CURRENT_BINARY_DIR}/foveaConfig.cmake COPYONLY)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/foveaConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/foveaConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/foveaConfigVersion.cmake
        COMPONENT engine DESTINATION ${fovea_cmake_folder})

# The .pc file says where it is from where it lies, so that an installed tree can be moved.
if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" AND NOT IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  file(RELATIVE_PATH FOVEA_PREFIX_FROM_PC /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
  string(REGEX REPLACE "/$" "" FOVEA_PREFIX_FROM_PC "${FOVEA_PREFIX_FROM_PC}")
  configure_file(${PROJECT_SOURCE_DIR}/cmake/fovea.pc.in ${CMAKE_CURRENT_BINARY_DIR}/fovea.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/fovea.pc COMPONENT engine
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()

if(FOVEA_ENGINE_ONLY)
  return()
endif()
install(TARGETS fovea_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/fovea DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/fovea/models)
