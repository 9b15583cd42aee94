# find_package(ekd): the target ekd::ekd, wherever the folder has been moved to.
get_filename_component(_ekd_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET ekd::ekd)
  add_library(ekd::ekd SHARED IMPORTED)
  set_target_properties(ekd::ekd PROPERTIES
    IMPORTED_LOCATION "${_ekd_prefix}/lib/libekd.so"
    INTERFACE_INCLUDE_DIRECTORIES "${_ekd_prefix}/include")
endif()
unset(_ekd_prefix)
