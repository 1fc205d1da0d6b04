# Warnings for a target of this project.
function(stillbit_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
    # A note that passing vectors by value depends on the instruction set: no such function crosses a translation unit.
    -Wno-psabi
    # GCC 12 warns of string concatenation in its own library (GCC bug 105329).
    $<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>)
  if(STILLBIT_WARNINGS_AS_ERRORS)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
