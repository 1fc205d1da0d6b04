# Puts the report's page together from its parts, and writes it as an array of bytes.
# cmake -DFOLDER=src/report/page -DLIBRARY=a.min.js;b.min.js -DOUTPUT=page_template.cpp -P report_page.cmake

cmake_minimum_required(VERSION 3.22)

file(READ ${FOLDER}/page.html page)

# Puts files, one after the other, in the place of a marker.
function(insert_files marker)
  set(text "")
  foreach(path ${ARGN})
    file(READ ${path} part)
    string(FIND "${part}" "</script" at)
    if(NOT at EQUAL -1)
      message(FATAL_ERROR "${path} would end the <script> element that it is put into")
    endif()
    string(APPEND text "${part}\n")
  endforeach()
  string(REPLACE "${marker}" "${text}" replaced "${page}")
  set(page "${replaced}" PARENT_SCOPE)
endfunction()

insert_files("{{style}}" ${FOLDER}/page.css)
insert_files("{{library}}" ${LIBRARY})
set(scripts format charts details table main)
list(TRANSFORM scripts REPLACE "(.+)" "${FOLDER}/\\1.js")
insert_files("{{script}}" ${scripts})
file(WRITE ${OUTPUT}.html "${page}")
file(READ ${OUTPUT}.html bytes HEX)
string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"report/page_template.hpp\"

const unsigned char stillbit::report::kPageTemplate[] = {
${bytes}};
const std::size_t stillbit::report::kPageTemplateBytes = sizeof(kPageTemplate);
")
